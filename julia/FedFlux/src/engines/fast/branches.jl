# Branches: SkipConnection and Parallel. A fork gives every branch the same input, and a
# join makes one value of their outputs. In the backward pass the join hands each branch
# its gradient, and the fork adds up what they make of it.

"""
    Branches(join, lists)

Layers side by side: each list of layers takes the same input, an empty one passes it on,
and `join` makes one value of their outputs.
"""
struct Branches
    join::Any
    lists::Vector{Vector{NamedLayer}}
end

"The sum of the branches' outputs, through an activation."
struct Sum{S}
    σ::S
end

"The features of all branches' outputs, one branch after the other."
struct Concatenation end

joined_by(::Union{typeof(+),Base.Broadcast.BroadcastFunction{typeof(+)}}) = Sum(identity)
joined_by(::typeof(vcat)) = Concatenation()
joined_by(f) = f

"The shape of what a join makes of values of these `shapes`. Supported joins have a method."
join_shape(f, shapes) =
    unsupported("it joins its branches by $f; the fast engine joins by + and vcat")

function join_shape(::Sum, shapes)
    all(==(first(shapes)), shapes) || unsupported(
        "it adds values of different sizes: " *
        join(((s.W, s.H, s.C) for s in shapes), " and ")
    )
    return first(shapes)
end

function join_shape(::Concatenation, shapes)
    s = first(shapes)
    s.kind in (:features, :sequence) ||
        unsupported("vcat joins features (F) and sequences (F, T), not images")
    all(o -> o.kind === s.kind && o.W == s.W, shapes) ||
        unsupported("it joins values of different lengths")
    all(o -> o.flat === nothing, shapes) ||
        unsupported("it joins what a flatten gives: put a Dense layer between")
    return Shape(s.kind, sum(o -> o.C, shapes), s.W, s.H)
end

after_branch(list, s) =
    foldl((s, l) -> with_layer_name(() -> output_shape(l.layer, s), l), list; init = s)

output_shape(l::Branches, s::Shape) =
    join_shape(l.join, [after_branch(list, s) for list in l.lists])

"The border that the first branch needs; a branch that needs another one gets a copy."
function input_border(l::Branches, s::Shape)
    used = findfirst(!isempty, l.lists)
    return used === nothing ? NO_BORDER : input_border(first(l.lists[used]).layer, s)
end

takes_signals(l::Branches) =
    any(list -> any(named -> takes_signals(named.layer), list), l.lists)

has_parameters(l::Branches) =
    any(list -> any(named -> has_parameters(named.layer), list), l.lists)

function add_layer!(operations, b, l::Branches, s, after, x, dx, border)
    needs_gradient = dx !== nothing || has_parameters(l)
    y, dy =
        buffer!(b, after, border), needs_gradient ? buffer!(b, after, NO_BORDER) : nothing
    fork, start = ForkOp(x, dx), length(operations) + 1
    ends = map(l.lists) do list
        isempty(list) && return pass_on!(fork, l.join, b, s, dy)
        return lay_out_branch!(operations, fork, b, list, s)
    end
    insert!(operations, start, fork)
    push!(operations, make_join(l.join, b, ends, y, dy))
    return after, y, dy
end

"""
Where branches begin: `copies` are inputs with the borders that some branches need,
`gradients` are the branches' gradients of the input, which add up to `dx`.
"""
struct ForkOp{DX} <: Operation
    x::Buffer
    dx::DX
    copies::Vector{Buffer}
    gradients::Vector{Buffer}
end
ForkOp(x, dx) = ForkOp(x, dx, Buffer[], Buffer[])

"What stands at the end of a branch: its output, and the output's gradient or `nothing`."
struct BranchEnd
    shape::Shape
    y::Buffer
    dy::Union{Nothing,Buffer}
end

function lay_out_branch!(operations, fork, b, list, s)
    x, dx = fork.x, fork.dx === nothing ? nothing : buffer!(b, s, NO_BORDER)
    dx === nothing || push!(fork.gradients, dx)
    needed = input_border(first(list).layer, s)
    if needed != border(x)
        x = buffer!(b, s, needed)
        push!(fork.copies, x)
    end
    return BranchEnd(lay_out!(operations, b, list, s, x, dx)...)
end

"The end of a branch without layers."
function pass_on!(fork, join, b, s, dy)
    fork.dx === nothing && return BranchEnd(s, fork.x, nothing)
    # The gradient of a sum is that of each of its terms.
    gradient = join isa Sum ? dy : buffer!(b, s, NO_BORDER)
    push!(fork.gradients, gradient)
    return BranchEnd(s, fork.x, gradient)
end

function forward!(o::ForkOp, p::Pass, lo, hi)
    for copy in o.copies
        zeroborder!(p, copy, lo, hi)
        copy_rows!(p, copy, o.x, lo, hi)
    end
end

function backward!(o::ForkOp, p::Pass, lo, hi)
    o.dx === nothing || add_up!(identity, p, o.dx, o.gradients, lo, hi)
end

"`to = σ(Σ terms)`."
function add_up!(σ::S, p::Pass, to::Buffer, terms, lo, hi) where {S}
    zeroborder!(p, to, lo, hi)
    each_row_vector(p, to, lo, hi) do k, width, mask
        sum = load(width, k(terms[1]), mask)
        for i = 2:length(terms)
            sum += load(width, k(terms[i]), mask)
        end
        store(activate(σ, sum), k(to), mask)
    end
end

"`y = σ(Σ terms)`. `gradients` are those of the terms; one of them may be `dy` itself."
struct SumOp{S,DY} <: Operation
    σ::S
    terms::Vector{Buffer}
    gradients::Vector{Buffer}
    y::Buffer
    dy::DY
end

function make_join(l::Sum, b::Builder, ends, y, dy)
    gradients = Buffer[e.dy for e in ends if e.dy !== nothing]
    return SumOp(l.σ, Buffer[e.y for e in ends], gradients, y, dy)
end

forward!(o::SumOp, p::Pass, lo, hi) = add_up!(o.σ, p, o.y, o.terms, lo, hi)

function backward!(o::SumOp, p::Pass, lo, hi)
    o.dy === nothing && return
    foreach(g -> zeroborder!(p, g, lo, hi), o.gradients)
    each_row_vector(p, o.y, lo, hi) do k, width, mask
        d = backprop(o.σ, load(width, k(o.y), mask), load(width, k(o.dy), mask))
        for g in o.gradients
            store(d, k(g), mask)
        end
    end
end

"`y` holds the features of each of the `parts`, one after the other, in every column."
struct ConcatenationOp{DY} <: Operation
    parts::Vector{Buffer}
    gradients::Vector{Union{Nothing,Buffer}}
    y::Buffer
    dy::DY
end

make_join(::Concatenation, b::Builder, ends, y, dy) =
    ConcatenationOp(
        Buffer[e.y for e in ends],
        Union{Nothing,Buffer}[e.dy for e in ends],
        y,
        dy
    )

function forward!(o::ConcatenationOp, p::Pass, lo, hi)
    from = 0
    for part in o.parts
        copy_features!(p, o.y, from, part, 0, part.C, lo, hi)
        from += part.C
    end
end

function backward!(o::ConcatenationOp, p::Pass, lo, hi)
    o.dy === nothing && return
    from = 0
    for (part, gradient) in zip(o.parts, o.gradients)
        gradient === nothing ||
            copy_features!(p, gradient, 0, o.dy, from, part.C, lo, hi)
        from += part.C
    end
end

"Copy `C` features of each column, from feature `j` of `from` to feature `i` of `to`."
function copy_features!(p::Pass, to::Buffer, i, from::Buffer, j, C, lo, hi)
    for n = lo:hi, t = 0:(to.W-1)
        a = at(address(p, to, n), offset(to, t, 0) + i)
        unsafe_copyto!(a, at(address(p, from, n), offset(from, t, 0) + j), C)
    end
end

# From a Flux model to a tuple of operations with their buffers laid out.

"What is gathered while the operations are built: where parameters and statistics lie, and how much workspace there is."
mutable struct Builder
    slots::IdDict{Any,UnitRange{Int}}
    statistics::IdDict{Any,UnitRange{Int}}
    orders::Vector{Pair{UnitRange{Int},Order}}
    workspace::Int
    maxbatch::Int
    cpu::CPU
end

function Builder(model, maxbatch, cpu)
    function ranges(arrays)
        stops = cumsum(length.(arrays))
        return IdDict{Any,UnitRange{Int}}(a => s-length(a)+1:s for (a, s) in zip(arrays, stops))
    end
    return Builder(ranges(Optimisers.trainables(model)), ranges(statistics(model)), [], 0, maxbatch, cpu)
end

"The offset of a parameter array, which must not be asked for twice; `order` is how the engine holds it."
function parameter!(b::Builder, a, order = nothing)
    a isa Array{Float32} || unsupported("a parameter is a $(typeof(a)); it takes Array{Float32}")
    haskey(b.slots, a) || unsupported("a parameter array of size $(size(a)) isn't trained, or is used twice")
    range = pop!(b.slots, a)
    order === nothing || push!(b.orders, range => order)
    return first(range) - 1
end

"The offset of `n` more floats of workspace, at the start of a cache line."
function workspace!(b::Builder, n)
    from = b.workspace
    b.workspace += cld(n, 16) * 16
    return from
end

function buffer!(b::Builder, s::Shape, border::Border)
    place(at) = Buffer(at, s.C, s.W, s.H, border..., false)
    return place(workspace!(b, image(place(0)) * b.maxbatch))
end

"A layer, and its name in messages."
struct Step
    layer
    name::String
end

"The layers of a model in their order, nested chains opened, activations taken out of layers that don't compute them."
function steps(model, path = "")
    layers = model isa Chain ? values(model.layers) : (model,)
    named(i) = isempty(path) ? string(i) : string(path, '.', i)
    return reduce(vcat, [simplify(l, named(i)) for (i, l) in enumerate(layers)]; init = Step[])
end

function simplify(l, path)
    l isa Chain && return steps(l, path)
    name = "layer $path, $(summary_of(l))"
    return [Step(part, name) for part in parts(l)]
end

linear(l::Conv) = Conv(identity, l.weight, l.bias, l.stride, l.pad, l.dilation, l.groups)

"The simpler layers that `l` is made of, `()` for one that does nothing."
parts(l) = (l,)
parts(::typeof(identity)) = ()
parts(l::Conv) = l.σ isa FROM_OUTPUT ? (l,) : (linear(l), Activation(l.σ))
parts(l::Dense) = l.σ isa FROM_OUTPUT ? (l,) : (Dense(l.weight, l.bias), Activation(l.σ))
parts(f::Function) = (hasmethod(f, Tuple{Array{Float32,3}}) ? Activation(f) : f,)
parts(::Union{typeof(Flux.flatten),typeof(MLUtils.flatten)}) = (Flatten(),)
parts(f::Base.Broadcast.BroadcastFunction) = (Activation(f.f),)

"""
A relu before a max-pool commutes with it, and there is less to do after it. (What a window of negative inputs passes back is
zero either way.)
"""
function relu_after_pools(list)
    list = copy(list)
    for i in 2:length(list)
        l = list[i-1].layer
        if list[i].layer isa MaxPool && l isa Conv && l.σ === relu
            list[i-1] = Step(linear(l), list[i-1].name)
            list[i] = Step(ReluMaxPool(list[i].layer), list[i].name)
        end
    end
    return list
end

# What a layer asks of the plan. Layers without a method of `shape_after` aren't supported.
"The border that a layer wants around its input, and around the gradient of its output."
input_border(l, s::Shape) = (0, 0, 0, 0)
output_border(l, s::Shape) = (0, 0, 0, 0)
shape_after(l, s::Shape) = unsupported("the fast engine doesn't have this layer")

"Add the step's name to the reason for which it isn't supported."
function named(f, step::Step)
    try
        f()
    catch err
        err isa Unsupported ? throw(Unsupported(step.name * ": " * err.reason)) : rethrow()
    end
end

"""
    plan(model, dims, maxbatch, cpu)

The model's operations over buffers for batches up to `maxbatch`. The input is staged; no gradient is computed for values
that don't depend on a parameter.
"""
function plan(model, dims, maxbatch, cpu)
    list = relu_after_pools(steps(model))
    isempty(list) && unsupported("the model has no layers")
    b = Builder(model, maxbatch, cpu)
    s = named(() -> Shape(dims, list[1].layer), list[1])
    kind = s.kind
    list = tokens_to_gates(list, s.W * maxbatch)
    input = x = Buffer(0, s.C, s.W, s.H, named(() -> input_border(list[1].layer, s), list[1])..., true)
    dx = nothing
    operations = []
    for (i, step) in enumerate(list)
        op, s, x, dx = named(step) do
            after = shape_after(step.layer, s)
            min(after.C, after.W, after.H) >= 1 || unsupported("nothing is left of an input of size $((s.W, s.H, s.C))")
            wanted = i < length(list) ? input_border(list[i+1].layer, after) : (0, 0, 0, 0)
            needs = dx !== nothing || !isempty(Optimisers.trainables(step.layer))
            y, dy = outputs(step.layer, b, s, after, x, dx, wanted, needs)
            build(step.layer, b, s, x, dx, y, dy), after, y, dy
        end
        push!(operations, op)
    end
    isempty(b.slots) || unsupported("the model has parameters outside its layers")
    isempty(b.statistics) || unsupported("the model has statistics outside its layers")
    dx === nothing && unsupported("the model has no parameters")
    return (; operations = Tuple(operations), builder = b, input, output = x, gradient = dx, shape = s, kind)
end

"The buffers of a layer's output and of its gradient."
outputs(l, b, s, after, x, dx, wanted, needs) =
    buffer!(b, after, wanted), needs ? buffer!(b, after, output_border(l, s)) : nothing

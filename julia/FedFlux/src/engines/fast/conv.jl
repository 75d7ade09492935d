# Convolution without im2col: each output pixel is summed up in registers, straight from the padded input.

"""
    ConvOp

`y = σ(w ∗ x + b)`. Weights are held as (Cout/groups, Cin/groups, kx, ky, groups), not flipped; the gradient of the input
is the same sweep over the output's gradient with channels transposed, one sweep for each phase of the stride.
"""
struct ConvOp{S,F<:Tiling,B<:Tiling,G<:Tiling,DX} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    b::Int                  # -1: no bias
    groups::Int
    win::Window
    forward::Sweep
    backward::Vector{Sweep}
    taps::Vector{Vector{Tap}}
    dyout::Vector{Int32}    # the forward sweep's pixels in dy
    turned::Int             # transposed weights, in the arena
    tiling::F
    backtiling::B
    gradtiling::G
end

function shape_after(l::Conv, s::Shape)
    s.kind === :image && length(l.stride) == 2 || unsupported("it takes convolutions over images (W, H, C)")
    size(l.weight, 3) * l.groups == s.C || unsupported("it takes $(size(l.weight, 3) * l.groups) channels, and $(s.C) reach it")
    return Shape(:image, size(l.weight, 4), outsize(Window(l), s.W, s.H)...)
end
input_border(l::Conv, s::Shape) = both_sides(l.pad)
output_border(l::Conv, s::Shape) = gradient_border(Window(l), s.W, s.H)

Window(l::Conv) = Window(size(l.weight)[1:2], l.stride, both_sides(l.pad), l.dilation)

function build(l::Conv, b::Builder, s::Shape, x, dx, y, dy)
    win, groups = Window(l), l.groups
    cin, cout = x.C ÷ groups, y.C ÷ groups
    w = parameter!(b, l.weight, Order((win.k..., cin, cout, groups), (1, 2), (4, 3, 1, 2, 5)))
    bias = l.bias === false ? -1 : parameter!(b, l.bias)
    forward = forward_sweep(win, x, y, cin)
    ps = dx === nothing ? empty(phases(win)) : filter(p -> p[1] < x.W && p[2] < x.H, phases(win))
    backward = Sweep[backward_sweep(win, dy, dx, cout, p...) for p in ps]
    dyout = Int32[offset(dy, i, j) for j in 0:y.H-1 for i in 0:y.W-1]
    turned = dx === nothing ? 0 : workspace!(b, length(l.weight))
    tiled(sweeps) = maximum(columns, sweeps; init = 1)
    return ConvOp(l.σ, x, dx, y, dy, w, bias, groups, win, forward, backward, [phase_taps(win, p...) for p in ps], dyout, turned,
                  Tiling(cout, V -> tile_pixels(V, tiled([forward]), b.cpu), b.cpu),
                  Tiling(cin, V -> tile_pixels(V, tiled(backward), b.cpu), b.cpu),
                  Tiling(cout, V -> tile_weights(V, maximum(u -> Int(u.len), forward.runs), b.cpu), b.cpu))
end

function forward!(o::ConvOp, p::Pass, lo, hi)
    cin, cout = o.x.C ÷ o.groups, o.y.C ÷ o.groups
    size = cin * cout * prod(o.win.k)
    zeroborder!(p, o.y, lo, hi)
    for g in 0:o.groups-1
        bias = o.b < 0 ? Ptr32(C_NULL) : at(p.w, o.b + g * cout)
        sweep!(o.σ, o.tiling, o.forward, cout, at(address(p, o.y, lo), g * cout), image(o.y), at(address(p, o.x, lo), g * cin),
               image(o.x), hi - lo + 1, at(p.w, o.w + g * size), bias, false)
    end
end

function backward!(o::ConvOp, p::Pass, lo, hi)
    db = o.b < 0 ? Ptr32(C_NULL) : at(p.g, o.b)
    pull_bias!(o.σ, p, o.y, o.dy, db, lo, hi)
    weight_gradient!(o, p, lo, hi)
    o.dx === nothing || input_gradient!(o, p, lo, hi)
end

function weight_gradient!(o::ConvOp, p::Pass, lo, hi)
    cin, cout = o.x.C ÷ o.groups, o.y.C ÷ o.groups
    for g in 0:o.groups-1
        outer_sweep!(o.gradtiling, o.forward.runs, at(p.g, o.w + g * cin * cout * prod(o.win.k)), cout,
                     at(address(p, o.dy, lo), g * cout), image(o.dy), at(address(p, o.x, lo), g * cin), image(o.x),
                     pointer(o.forward.pin), pointer(o.dyout), length(o.dyout), hi - lo + 1, lo > 0)
    end
end

function input_gradient!(o::ConvOp, p::Pass, lo, hi)
    cin, cout = o.x.C ÷ o.groups, o.y.C ÷ o.groups
    size = cin * cout * prod(o.win.k)
    lo == 0 && turn_weights!(o, p)
    zeroborder!(p, o.dx, lo, hi)
    for g in 0:o.groups-1
        w = at(p.arena, o.turned + g * size)
        for s in eachindex(o.backward)
            sweep!(identity, o.backtiling, o.backward[s], cin, at(address(p, o.dx, lo), g * cin), image(o.dx),
                   at(address(p, o.dy, lo), g * cout), image(o.dy), hi - lo + 1, w, Ptr32(C_NULL), false)
            w = at(w, length(o.taps[s]) * cin * cout)
        end
    end
end

"The weights as the backward sweeps read them: channels transposed, taps in each phase's order."
function turn_weights!(o::ConvOp, p::Pass)
    cin, cout = o.x.C ÷ o.groups, o.y.C ÷ o.groups
    to = at(p.arena, o.turned)
    for g in 0:o.groups-1, taps in o.taps, t in taps
        from = at(p.w, o.w + cin * cout * (t.a + o.win.k[1] * (t.b + o.win.k[2] * g)))
        transpose!(to, cin, from, cout, cin, cout)
        to = at(to, cin * cout)
    end
end

"Pull `dy` back through σ, in place, and sum it over the pixels into the bias's gradient `db` (or C_NULL)."
function pull_bias!(σ::S, p::Pass, y::Buffer, dy::Buffer, db, lo, hi) where {S}
    σ === identity && db == C_NULL && return
    each_vector(Val(16), y.C) do c, width, mask
        sum = pull_sum!(σ, p, y, dy, c, width, mask, lo, hi)
        if db != C_NULL
            d = at(db, c)
            store(lo > 0 ? load(width, d, mask) + sum : sum, d, mask)
        end
    end
end

function pull_sum!(σ::S, p::Pass, y::Buffer, dy::Buffer, c, width::Val{L}, mask, lo, hi) where {S,L}
    sum = zero(Vec{L,Float32})
    for n in lo:hi, j in 0:y.H-1
        yp = at(address(p, y, n), offset(y, 0, j) + c)
        dp = at(address(p, dy, n), offset(dy, 0, j) + c)
        for _ in 1:y.W
            d = load(width, dp, mask)
            if σ !== identity
                d = pull(σ, load(width, yp, mask), d)
                store(d, dp, mask)
            end
            sum += d
            yp, dp = at(yp, y.C), at(dp, dy.C)
        end
    end
    return sum
end

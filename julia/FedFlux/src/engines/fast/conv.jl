# Direct convolution, without im2col: the microkernel sums each output pixel in registers,
# straight from the padded input.

"""
    ConvOp

`y = σ(w ∗ x + b)`. Weights are held as (Cout/groups, Cin/groups, kx, ky, groups), not
flipped. The gradient of the input is the same kernel over the output's gradient, with the
weights' channels transposed: one convolution for each phase of the stride.
"""
struct ConvOp{S,DX} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    b::Int                        # -1: no bias
    groups::Int
    win::Window
    forward::OffsetTable
    backward::Vector{OffsetTable} # one per phase
    taps::Vector{Vector{Tap}}     # of each phase
    dyoffsets::Vector{Int32}      # of the forward table's pixels in dy
    packed::Int                   # transposed weights, in the arena
    tiling::Tiling
    backward_tiling::Tiling
    gradient_tiling::Tiling
    examples::ExampleWeights
    biases::ExampleValues
end

function output_shape(l::Conv, s::Shape)
    check_pixels("convolutions", length(l.stride), s)
    channels = size(l.weight)[end-1] * l.groups
    channels == s.C || unsupported("it takes $channels channels, but its input has $(s.C)")
    return Shape(s.kind, size(l.weight)[end], outsize(Window(l), s.W, s.H)...)
end
takes_signals(l::Conv) = length(l.stride) == 1
input_border(l::Conv, s::Shape) = both_sides(length(l.stride), l.pad)
gradient_border(l::Conv, s::Shape) = gradient_border(Window(l), s.W, s.H)

Window(l::Conv) =
    layer_window(size(l.weight)[1:(end-2)], l.stride, l.pad, l.dilation)

# depthwise.jl has the method.
function depthwise_operation end

function isdepthwise(l::Conv)
    cin, cout = size(l.weight)[(end-1):end]
    return l.groups > 1 && l.groups == cout && cin == 1
end

"""
The offsets of the weights, with the axes (kx, ky, Cin/groups, Cout/groups, groups) in the
engine's order `perm`, and of the bias, -1 without one.
"""
function conv_parameters!(l::Conv, b::Builder, win::Window, perm)
    cin, cout = size(l.weight)[(end-1):end]
    order = Order((win.k..., cin, cout ÷ l.groups, l.groups), (1, 2), perm)
    return parameter!(b, l.weight, order), l.bias === false ? -1 : parameter!(b, l.bias)
end

function make_operation(l::Conv, b::Builder, s::Shape, x, dx, y, dy)
    isdepthwise(l) && return depthwise_operation(l, b, x, dx, y, dy)
    win, groups = Window(l), l.groups
    cin, cout = x.C ÷ groups, y.C ÷ groups
    w, bias = conv_parameters!(l, b, win, (4, 3, 1, 2, 5))
    forward = forward_offsets(win, x, y, cin)
    inside(p) = p[1] < x.W && p[2] < x.H
    ps = dx === nothing ? empty(phases(win)) : filter(inside, phases(win))
    backward = OffsetTable[backward_offsets(win, dy, dx, cout, p...) for p in ps]
    taps = [phase_taps(win, p...) for p in ps]
    dyoffsets = Int32[offset(dy, i, j) for j = 0:(y.H-1) for i = 0:(y.W-1)]
    packed = dx === nothing ? 0 : workspace!(b, length(l.weight))
    most_columns(tables) = maximum(columns, tables; init = 1)
    longest_run = maximum(u -> Int(u.len), forward.runs)
    return ConvOp(
        l.σ, x, dx, y, dy, w, bias, groups, win, forward, backward, taps, dyoffsets,
        packed,
        Tiling(cout, V -> tile_pixels(V, most_columns([forward]), b.cpu), b.cpu),
        Tiling(cin, V -> tile_pixels(V, most_columns(backward), b.cpu), b.cpu),
        Tiling(cout, V -> tile_weights(V, longest_run, b.cpu), b.cpu),
        ExampleWeights(b, cin * prod(win.k), cout, pixels(y); groups),
        ExampleValues(b, bias < 0 ? 0 : y.C)
    )
end

"The input and output channels of one group."
group_channels(o::ConvOp) = (o.x.C ÷ o.groups, o.y.C ÷ o.groups)

function forward!(o::ConvOp, p::Pass, lo, hi)
    cin, cout = group_channels(o)
    size = cin * cout * prod(o.win.k)
    zeroborder!(p, o.y, lo, hi)
    for g = 0:(o.groups-1)
        y = at(address(p, o.y, lo), g * cout)
        x = at(address(p, o.x, lo), g * cin)
        w = at(p.w, o.w + g * size)
        bias = o.b < 0 ? Ptr32(C_NULL) : at(p.w, o.b + g * cout)
        macrokernel!(
            o.σ, o.tiling, o.forward, cout, y, sample_stride(o.y),
            x, sample_stride(o.x), hi - lo + 1, w, bias, false
        )
    end
end

function backward!(o::ConvOp, p::Pass, lo, hi)
    db = o.b < 0 ? Ptr32(C_NULL) : at(p.g, o.b)
    epilogue_backward!(o.σ, p, o.y, o.dy, db, lo, hi)
    conv_weight_gradient!(o, p, lo, hi, lo > 0)
    o.dx === nothing || conv_input_gradient!(o, p, lo, hi)
end

function conv_weight_gradient!(o::ConvOp, p::Pass, lo, hi, accumulate)
    cin, cout = group_channels(o)
    size = cin * cout * prod(o.win.k)
    for g = 0:(o.groups-1)
        dw = at(p.g, o.w + g * size)
        dy = at(address(p, o.dy, lo), g * cout)
        x = at(address(p, o.x, lo), g * cin)
        outer_macrokernel!(
            o.gradient_tiling, o.forward.runs, dw, cout, dy, sample_stride(o.dy),
            x, sample_stride(o.x), pointer(o.forward.xoffsets), pointer(o.dyoffsets),
            length(o.dyoffsets), hi - lo + 1, accumulate
        )
    end
end

function conv_input_gradient!(o::ConvOp, p::Pass, lo, hi)
    cin, cout = group_channels(o)
    size = cin * cout * prod(o.win.k)
    lo == 0 && pack_weights!(o, p)
    zeroborder!(p, o.dx, lo, hi)
    for g = 0:(o.groups-1)
        dx = at(address(p, o.dx, lo), g * cin)
        dy = at(address(p, o.dy, lo), g * cout)
        w = at(p.arena, o.packed + g * size)
        for s in eachindex(o.backward)
            macrokernel!(
                identity, o.backward_tiling, o.backward[s], cin, dx, sample_stride(o.dx),
                dy, sample_stride(o.dy), hi - lo + 1, w, Ptr32(C_NULL), false
            )
            w = at(w, length(o.taps[s]) * cin * cout)
        end
    end
end

"Pack the weights for the backward pass: channels transposed, taps in each phase's order."
function pack_weights!(o::ConvOp, p::Pass)
    cin, cout = group_channels(o)
    to = at(p.arena, o.packed)
    for g = 0:(o.groups-1), taps in o.taps, t in taps
        from = at(p.w, o.w + cin * cout * (t.a + o.win.k[1] * (t.b + o.win.k[2] * g)))
        transpose!(to, cin, from, cout, cin, cout)
        to = at(to, cin * cout)
    end
end

"""
    epilogue_backward!(σ, p, y, dy, db, lo, hi, accumulate = lo > 0)

The backward pass of the epilogue `σ(· + b)`: backpropagates `dy` through σ in place, and
sums it over the pixels into the bias's gradient `db` unless that is `C_NULL`.
"""
function epilogue_backward!(
    σ::S, p::Pass, y::Buffer, dy::Buffer, db, lo, hi, accumulate = lo > 0
) where {S}
    σ === identity && db == C_NULL && return
    each_vector(Val(16), y.C) do c, width, mask
        sum = backprop_sum!(σ, p, y, dy, c, width, mask, lo, hi)
        if db != C_NULL
            d = at(db, c)
            store(accumulate ? load(width, d, mask) + sum : sum, d, mask)
        end
    end
end

"Backpropagate a vector of channels of `dy` through σ in place; returns its sum."
function backprop_sum!(
    σ::S, p::Pass, y::Buffer, dy::Buffer, c, width::Val{L}, mask, lo, hi
) where {S,L}
    sum = zero(Vec{L,Float32})
    for n = lo:hi, j = 0:(y.H-1)
        yp = at(address(p, y, n), offset(y, 0, j) + c)
        dp = at(address(p, dy, n), offset(dy, 0, j) + c)
        for _ = 1:y.W
            d = load(width, dp, mask)
            if σ !== identity
                d = backprop(σ, load(width, yp, mask), d)
                store(d, dp, mask)
            end
            sum += d
            yp, dp = at(yp, y.C), at(dp, dy.C)
        end
    end
    return sum
end

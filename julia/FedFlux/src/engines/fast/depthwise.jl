# Depthwise convolution: every channel has a window of its own, so channels are on the
# lanes.

"""
    DepthwiseOp

`y = σ(w ∗ x + b)` with one window per channel. Weights are held as (C, kx, ky), not
flipped.
"""
struct DepthwiseOp{S,DX} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    b::Int          # -1: no bias
    win::Window
    weights::ExampleValues
    biases::ExampleValues
end

function depthwise_operation(l::Conv, b::Builder, x, dx, y, dy)
    win = Window(l)
    w, bias = conv_parameters!(l, b, win, (5, 1, 2, 3, 4))
    weights = ExampleValues(b, x.C * prod(win.k))
    biases = ExampleValues(b, bias < 0 ? 0 : x.C)
    return DepthwiseOp(l.σ, x, dx, y, dy, w, bias, win, weights, biases)
end

function forward!(o::DepthwiseOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_vector(Val(16), o.x.C) do c, width, mask
        for n = lo:hi, j = 0:(o.y.H-1), i = 0:(o.y.W-1)
            sum = o.b < 0 ? zero_vector(width) : load(width, at(p.w, o.b + c), mask)
            sum = window_sum(o, p, sum, c, width, mask, n, i, j)
            store(activate(o.σ, sum), at(address(p, o.y, n), offset(o.y, i, j) + c), mask)
        end
    end
end

"The sum over the window of an output pixel; the input's border holds its zeros."
@inline function window_sum(o::DepthwiseOp, p, sum, c, width, mask, n, i, j)
    (; k, stride, pad, dilation) = o.win
    first = offset(o.x, i * stride[1] - pad[1], j * stride[2] - pad[3]) + c
    x, w = at(address(p, o.x, n), first), at(p.w, o.w + c)
    for b = 0:(k[2]-1)
        line = at(x, b * dilation[2] * row_stride(o.x))
        for _ = 1:k[1]
            sum = muladd(load(width, w, mask), load(width, line, mask), sum)
            line, w = at(line, dilation[1] * o.x.C), at(w, o.x.C)
        end
    end
    return sum
end

function backward!(o::DepthwiseOp, p::Pass, lo, hi)
    db = o.b < 0 ? Ptr32(C_NULL) : at(p.g, o.b)
    epilogue_backward!(o.σ, p, o.y, o.dy, db, lo, hi)
    each_tap(o) do a, b, tap
        depthwise_weight_gradient!(o, p, at(p.g, o.w), a, b, tap, lo, hi)
    end
    depthwise_input_gradient!(o, p, lo, hi)
end

"Call `f(a, b, tap)` for each tap of the window, and the offset of its weights."
@inline function each_tap(f::F, o::DepthwiseOp) where {F}
    for b = 0:(o.win.k[2]-1), a = 0:(o.win.k[1]-1)
        f(a, b, o.x.C * (a + o.win.k[1] * b))
    end
end

function depthwise_weight_gradient!(o::DepthwiseOp, p::Pass, dw, a, b, tap, lo, hi)
    each_vector(Val(16), o.x.C) do c, width, mask
        store(tap_sum(o, p, c, width, mask, a, b, lo, hi), at(dw, tap + c), mask)
    end
end

"The sum over the pixels of dy times the input that tap (a, b) reads."
function tap_sum(o::DepthwiseOp, p::Pass, c, width, mask, a, b, lo, hi)
    is, js = tap_outputs(o, a, b)
    step, sum = o.win.stride[1] * o.x.C, zero_vector(width)
    for n = lo:hi, j in js
        x = at(tap_input(o, p, o.x, a, b, n, first(is), j), c)
        dy = at(address(p, o.dy, n), offset(o.dy, first(is), j) + c)
        for _ in is
            sum = muladd(load(width, x, mask), load(width, dy, mask), sum)
            x, dy = at(x, step), at(dy, o.dy.C)
        end
    end
    return sum
end

"The offset between an output, times the stride, and its input at a tap."
tap_shift(win::Window, a, b) =
    (a * win.dilation[1] - win.pad[1], b * win.dilation[2] - win.pad[3])

"The outputs (i, j) whose input at tap (a, b) is inside the image."
function tap_outputs(o::DepthwiseOp, a, b)
    u, v = tap_shift(o.win, a, b)
    return inside(u, o.win.stride[1], o.x.W, o.y.W),
    inside(v, o.win.stride[2], o.x.H, o.y.H)
end

"The address of the input of output (i, j) at tap (a, b), in the buffer `x`."
function tap_input(o::DepthwiseOp, p::Pass, x::Buffer, a, b, n, i, j)
    u, v = tap_shift(o.win, a, b)
    return at(address(p, x, n), offset(x, i * o.win.stride[1] + u, j * o.win.stride[2] + v))
end

"The outputs i, of `outputs`, with an input i·stride + shift inside 0:(inputs-1)."
inside(shift, stride, inputs, outputs) =
    max(0, cld(-shift, stride)):min(outputs-1, fld(inputs-1-shift, stride))

function depthwise_input_gradient!(o::DepthwiseOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zero_samples!(p, o.dx, lo, hi)
    each_tap(o) do a, b, tap
        each_vector(Val(16), o.x.C) do c, width, mask
            add_tap!(
                o,
                p,
                load(width, at(p.w, o.w + tap + c), mask),
                c,
                width,
                mask,
                a,
                b,
                lo,
                hi
            )
        end
    end
end

"Add dy times the weights `w` of tap (a, b) to the gradients of the inputs that it reads."
function add_tap!(o::DepthwiseOp, p::Pass, w, c, width, mask, a, b, lo, hi)
    is, js = tap_outputs(o, a, b)
    step = o.win.stride[1] * o.dx.C
    for n = lo:hi, j in js
        dx = at(tap_input(o, p, o.dx, a, b, n, first(is), j), c)
        dy = at(address(p, o.dy, n), offset(o.dy, first(is), j) + c)
        for _ in is
            store(muladd(w, load(width, dy, mask), load(width, dx, mask)), dx, mask)
            dx, dy = at(dx, step), at(dy, o.dy.C)
        end
    end
end

function backpropagate!(o::DepthwiseOp, p::Pass, lo, hi)
    for n = lo:hi
        db = o.b < 0 ? Ptr32(C_NULL) : address(p, o.biases, n)
        epilogue_backward!(o.σ, p, o.y, o.dy, db, n, n, false)
        each_tap(o) do a, b, tap
            depthwise_weight_gradient!(o, p, address(p, o.weights, n), a, b, tap, n, n)
        end
    end
    depthwise_input_gradient!(o, p, lo, hi)
end

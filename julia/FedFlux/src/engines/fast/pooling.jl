# Pooling, with channels on the lanes. Windows are clipped at the edges of the image.

"A max-pool fused with the relu before it."
struct ReluMaxPool{P}
    pool::P
end

"`y = σ(max)` over each window. `argmax` holds the position of each maximum in its window."
struct MaxPoolOp{S,DX,DY} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    win::Window
    argmax::Int
end

struct MeanPoolOp{DX,DY} <: Operation
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    win::Window
end

const AnyMaxPool = Union{MaxPool,GlobalMaxPool,AdaptiveMaxPool,ReluMaxPool}
const AnyMeanPool = Union{MeanPool,GlobalMeanPool,AdaptiveMeanPool}
const AnyPool = Union{AnyMaxPool,AnyMeanPool}

function Window(l::Union{MaxPool,MeanPool}, s::Shape)
    return layer_window(l.k, l.stride, l.pad, map(_ -> 1, l.k))
end
function Window(l::Union{GlobalMaxPool,GlobalMeanPool}, s::Shape)
    return Window((s.W, s.H), (1, 1), NO_BORDER, (1, 1))
end
function Window(l::Union{AdaptiveMaxPool,AdaptiveMeanPool}, s::Shape)
    sides = sides_along(l, s)
    stride = sides .÷ l.out
    k = sides .- (l.out .- 1) .* stride
    return layer_window(k, stride, map(_ -> 0, k), map(_ -> 1, k))
end
Window(l::ReluMaxPool, s::Shape) = Window(l.pool, s)

"The sides of a signal or an image, of as many axes as the pool gives."
sides_along(l, s::Shape) = (s.W, s.H)[1:length(l.out)]

spatial_dims(l, s::Shape) = s.kind === :signal ? 1 : 2      # a global pool takes both
spatial_dims(l::Union{MaxPool,MeanPool}, s::Shape) = length(l.k)
spatial_dims(l::Union{AdaptiveMaxPool,AdaptiveMeanPool}, s::Shape) = length(l.out)
spatial_dims(l::ReluMaxPool, s::Shape) = spatial_dims(l.pool, s)
takes_signals(l::Union{MaxPool,MeanPool}) = length(l.k) == 1
takes_signals(l::Union{AdaptiveMaxPool,AdaptiveMeanPool}) = length(l.out) == 1

function output_shape(l::AnyPool, s::Shape)
    check_pixels("pools", spatial_dims(l, s), s)
    fits(l, s) ||
        unsupported("it gives $(l.out) pixels of an input of $(sides_along(l, s))")
    return Shape(s.kind, s.C, outsize(Window(l, s), s.W, s.H)...)
end

fits(l, s::Shape) = true
fits(l::Union{AdaptiveMaxPool,AdaptiveMeanPool}, s::Shape) =
    all(sides_along(l, s) .>= l.out)

function make_operation(l::AnyMaxPool, b::Builder, s::Shape, x, dx, y, dy)
    argmax = workspace!(b, features(y) * b.maxbatch)
    σ = l isa ReluMaxPool ? relu : identity
    return MaxPoolOp(σ, x, dx, y, dy, Window(l, s), argmax)
end

function make_operation(l::AnyMeanPool, b::Builder, s::Shape, x, dx, y, dy)
    return MeanPoolOp(x, dx, y, dy, Window(l, s))
end

"""
The window of output `i` along dimension `d`, clipped to an input of length `n`: the first
pixel of the whole window, and the first and last tap (from 0) inside the input.
"""
@inline function clipped(win::Window, d, i, n)
    first = i * win.stride[d] - win.pad[2d-1]
    return first, max(0, -first), min(win.k[d] - 1, n - 1 - first)
end

"""
Call `f(n, i, j, fi, fj, as, bs)` for each sample and output pixel. Its window begins at the
input pixel (fi, fj). Its taps `as` × `bs` are inside the image.
"""
@inline function each_window(f::F, win::Window, x::Buffer, y::Buffer, lo, hi) where {F}
    for n = lo:hi, j = 0:(y.H-1)
        fj, b0, b1 = clipped(win, 2, j, x.H)
        for i = 0:(y.W-1)
            fi, a0, a1 = clipped(win, 1, i, x.W)
            f(n, i, j, fi, fj, a0:a1, b0:b1)
        end
    end
end

function forward!(o::MaxPoolOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        x = at(address(p, o.x, n), offset(o.x, fi + first(as), fj + first(bs)))
        y = at(address(p, o.y, n), offset(o.y, i, j))
        argmax = argmax_address(o, p, n, i, j)
        each_vector(Val(16), o.x.C) do c, width, mask
            best, tap = window_max(o, at(x, c), width, mask, as, bs)
            store(activate(o.σ, best), at(y, c), mask)
            store(tap, argmax + 4c, mask)
        end
    end
end

"The address of the positions of the maxima of an output pixel's channels."
@inline function argmax_address(o::MaxPoolOp, p, n, i, j)
    pixel = n * features(o.y) + (j * o.y.W + i) * o.y.C
    return Ptr{Int32}(at(p.arena, o.argmax + pixel))
end

"""
The maximum over a window, and its tap. `x` is the address of the window's first value
inside the image.
"""
@inline function window_max(o::MaxPoolOp, x, width::Val{L}, mask, as, bs) where {L}
    best, argmax = Vec{L,Float32}(-Inf32), Vec{L,Int32}(Int32(-1))
    for b in bs
        tap = (first(as) + o.win.k[1] * b) % Int32
        line = x
        for _ in as
            v = load(width, line, mask)
            larger = v > best
            best = vifelse(larger, v, best)
            argmax = vifelse(larger, Vec{L,Int32}(tap), argmax)
            line = at(line, o.x.C)
            tap += Int32(1)
        end
        x = at(x, row_stride(o.x))
    end
    return best, argmax
end

function backward!(o::MaxPoolOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zero_samples!(p, o.dx, lo, hi)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        dx = at(address(p, o.dx, n), offset(o.dx, fi + first(as), fj + first(bs)))
        y = at(address(p, o.y, n), offset(o.y, i, j))
        dy = at(address(p, o.dy, n), offset(o.dy, i, j))
        argmax = argmax_address(o, p, n, i, j)
        each_vector(Val(16), o.x.C) do c, width, mask
            d = backprop(o.σ, load(width, at(y, c), mask), load(width, at(dy, c), mask))
            tap = load(width, argmax + 4c, mask)
            add_at_argmax!(o, at(dx, c), d, tap, width, mask, as, bs)
        end
    end
end

"Add `d` to the gradient of each channel's maximum in a window."
@inline function add_at_argmax!(o::MaxPoolOp, dx, d, argmax, width, mask, as, bs)
    for b in bs
        tap = (first(as) + o.win.k[1] * b) % Int32
        line = dx
        for _ in as
            store(load(width, line, mask) + vifelse(argmax == tap, d, zero(d)), line, mask)
            line = at(line, o.x.C)
            tap += Int32(1)
        end
        dx = at(dx, row_stride(o.dx))
    end
end

function zero_samples!(p, b::Buffer, lo, hi)
    zeros!(address(p, b, lo), sample_stride(b) * (hi - lo + 1))
end

function forward!(o::MeanPoolOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    weight = 1.0f0 / prod(o.win.k)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        x, y = address(p, o.x, n), at(address(p, o.y, n), offset(o.y, i, j))
        each_vector(Val(16), o.x.C) do c, width, mask
            sum = zero_vector(width)
            for b in bs, a in as
                sum += load(width, at(x, offset(o.x, fi + a, fj + b) + c), mask)
            end
            store(sum * weight, at(y, c), mask)
        end
    end
end

function backward!(o::MeanPoolOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zero_samples!(p, o.dx, lo, hi)
    weight = 1.0f0 / prod(o.win.k)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        dy = at(address(p, o.dy, n), offset(o.dy, i, j))
        each_vector(Val(16), o.x.C) do c, width, mask
            d = load(width, at(dy, c), mask) * weight
            for b in bs, a in as
                to = at(address(p, o.dx, n), offset(o.dx, fi + a, fj + b) + c)
                store(load(width, to, mask) + d, to, mask)
            end
        end
    end
end

# Pooling: channels on the lanes, windows cut off at the edge.

"A max-pool with the relu that stood before it."
struct ReluMaxPool{P}
    pool::P
end

"`y = σ(max)` over each window; `chosen` keeps the position of each maximum in its window."
struct MaxPoolOp{S,DX,DY} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    win::Window
    chosen::Int
end

struct MeanPoolOp{DX,DY} <: Operation
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    win::Window
end

const Pool = Union{MaxPool,MeanPool,GlobalMaxPool,GlobalMeanPool,ReluMaxPool}

Window(l::Union{MaxPool,MeanPool}, s::Shape) = Window(l.k, l.stride, both_sides(l.pad), (1, 1))
Window(l::Union{GlobalMaxPool,GlobalMeanPool}, s::Shape) = Window((s.W, s.H), (1, 1), (0, 0, 0, 0), (1, 1))
Window(l::ReluMaxPool, s::Shape) = Window(l.pool, s)

sides(l) = 2
sides(l::Union{MaxPool,MeanPool}) = length(l.k)
sides(l::ReluMaxPool) = sides(l.pool)

function shape_after(l::Pool, s::Shape)
    s.kind === :image && sides(l) == 2 || unsupported("it takes pools over images (W, H, C)")
    return Shape(:image, s.C, outsize(Window(l, s), s.W, s.H)...)
end

function build(l::Union{MaxPool,GlobalMaxPool,ReluMaxPool}, b::Builder, s::Shape, x, dx, y, dy)
    chosen = workspace!(b, features(y) * b.maxbatch)
    return MaxPoolOp(l isa ReluMaxPool ? relu : identity, x, dx, y, dy, Window(l, s), chosen)
end
build(l::Union{MeanPool,GlobalMeanPool}, b::Builder, s::Shape, x, dx, y, dy) = MeanPoolOp(x, dx, y, dy, Window(l, s))

"The part of a window that lies inside a side of length `n`: the window's first pixel, first and last tap from 0."
@inline function inside(win::Window, d, i, n)
    first = i * win.stride[d] - win.pad[2d-1]
    return first, max(0, -first), min(win.k[d] - 1, n - 1 - first)
end

"""
Call `f(n, i, j, fi, fj, as, bs)` for each sample and output pixel: its window begins at the input (fi, fj), its taps `as` × `bs`
lie inside.
"""
@inline function each_window(f::F, win::Window, x::Buffer, y::Buffer, lo, hi) where {F}
    for n in lo:hi, j in 0:y.H-1
        fj, b0, b1 = inside(win, 2, j, x.H)
        for i in 0:y.W-1
            fi, a0, a1 = inside(win, 1, i, x.W)
            f(n, i, j, fi, fj, a0:a1, b0:b1)
        end
    end
end

function forward!(o::MaxPoolOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        x = at(address(p, o.x, n), offset(o.x, fi + first(as), fj + first(bs)))
        y, chosen = at(address(p, o.y, n), offset(o.y, i, j)), chosen_at(o, p, n, i, j)
        each_vector(Val(16), o.x.C) do c, width, mask
            best, tap = window_max(o, at(x, c), width, mask, as, bs)
            store(activate(o.σ, best), at(y, c), mask)
            store(tap, chosen + 4c, mask)
        end
    end
end

"Where the chosen taps of an output pixel's channels are kept."
@inline chosen_at(o::MaxPoolOp, p, n, i, j) = Ptr{Int32}(at(p.arena, o.chosen + n * features(o.y) + (j * o.y.W + i) * o.y.C))

"The maximum over a window and its tap; `x` is the address of the window's first value inside the image."
@inline function window_max(o::MaxPoolOp, x, width::Val{L}, mask, as, bs) where {L}
    best, chosen = Vec{L,Float32}(-Inf32), Vec{L,Int32}(Int32(-1))
    for b in bs
        tap = (first(as) + o.win.k[1] * b) % Int32
        line = x
        for _ in as
            v = load(width, line, mask)
            larger = v > best
            best, chosen = vifelse(larger, v, best), vifelse(larger, Vec{L,Int32}(tap), chosen)
            line = at(line, o.x.C)
            tap += Int32(1)
        end
        x = at(x, row(o.x))
    end
    return best, chosen
end

function backward!(o::MaxPoolOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zero_images!(p, o.dx, lo, hi)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        dx = at(address(p, o.dx, n), offset(o.dx, fi + first(as), fj + first(bs)))
        y, dy = at(address(p, o.y, n), offset(o.y, i, j)), at(address(p, o.dy, n), offset(o.dy, i, j))
        chosen = chosen_at(o, p, n, i, j)
        each_vector(Val(16), o.x.C) do c, width, mask
            d = pull(o.σ, load(width, at(y, c), mask), load(width, at(dy, c), mask))
            window_back!(o, at(dx, c), d, load(width, chosen + 4c, mask), width, mask, as, bs)
        end
    end
end

"Add `d` to the gradient of each channel's chosen tap."
@inline function window_back!(o::MaxPoolOp, dx, d, chosen, width, mask, as, bs)
    for b in bs
        tap = (first(as) + o.win.k[1] * b) % Int32
        line = dx
        for _ in as
            store(load(width, line, mask) + vifelse(chosen == tap, d, zero(d)), line, mask)
            line = at(line, o.x.C)
            tap += Int32(1)
        end
        dx = at(dx, row(o.dx))
    end
end

zero_images!(p, b::Buffer, lo, hi) = zeros!(address(p, b, lo), image(b) * (hi - lo + 1))

function forward!(o::MeanPoolOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    share = 1.0f0 / prod(o.win.k)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        x, y = address(p, o.x, n), at(address(p, o.y, n), offset(o.y, i, j))
        each_vector(Val(16), o.x.C) do c, width, mask
            sum = zeros_in(width)
            for b in bs, a in as
                sum += load(width, at(x, offset(o.x, fi + a, fj + b) + c), mask)
            end
            store(sum * share, at(y, c), mask)
        end
    end
end

function backward!(o::MeanPoolOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zero_images!(p, o.dx, lo, hi)
    share = 1.0f0 / prod(o.win.k)
    each_window(o.win, o.x, o.y, lo, hi) do n, i, j, fi, fj, as, bs
        dy = at(address(p, o.dy, n), offset(o.dy, i, j))
        each_vector(Val(16), o.x.C) do c, width, mask
            d = load(width, at(dy, c), mask) * share
            for b in bs, a in as
                to = at(address(p, o.dx, n), offset(o.dx, fi + a, fj + b) + c)
                store(load(width, to, mask) + d, to, mask)
            end
        end
    end
end

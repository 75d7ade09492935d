# Dropout. Each layer draws its masks from its own SplitMix64 sequence, which `reseed!`
# seeds.

struct DropoutOp{DX,DY} <: Operation
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    p::Float32
    active::Union{Nothing,Bool}
    mask::Int                          # factors: 0 or 1/(1-p)
    state::Base.RefValue{UInt64}
end

function output_shape(l::Dropout, s::Shape)
    l.dims === Colon() || unsupported("Dropout has dims = $(l.dims)")
    return s
end

function make_operation(l::Dropout, b::Builder, s::Shape, x, dx, y, dy)
    mask = workspace!(b, features(y) * b.maxbatch)
    return DropoutOp(x, dx, y, dy, Float32(l.p), l.active, mask, Ref(UInt64(0)))
end

reseed!(o::DropoutOp, rng) = (o.state[] = rand(rng, UInt64); nothing)
reseed!(::Operation, rng) = nothing

drops(o::DropoutOp, p::Pass) = o.p > 0 && (o.active === nothing ? p.train : o.active)

"Draw the factors of `n` values, two per 64-bit word."
function draw!(o::DropoutOp, to::Ptr32, n)
    keep = 1.0f0 / (1.0f0 - o.p)
    limit = unsafe_trunc(UInt64, Float64(o.p) * 2.0^32)
    state = o.state[]
    factor(bits) = bits < limit ? 0.0f0 : keep
    for i = 1:(n÷2)
        word = mix64(state + i * GAMMA)
        unsafe_store!(to, factor(word >> 32), 2i - 1)
        unsafe_store!(to, factor(word & 0xffffffff), 2i)
    end
    words = cld(n, 2)
    isodd(n) && unsafe_store!(to, factor(mix64(state + words * GAMMA) >> 32), n)
    o.state[] = state + words * GAMMA
end

function forward!(o::DropoutOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    drops(o, p) || return copy_rows!(p, o.y, o.x, lo, hi)
    draw!(o, at(p.arena, o.mask), features(o.y) * (hi - lo + 1))
    masked_rows!(o, p, o.y, o.x, lo, hi)
end

function backward!(o::DropoutOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zeroborder!(p, o.dx, lo, hi)
    if drops(o, p)
        masked_rows!(o, p, o.dx, o.dy, lo, hi)
    else
        copy_rows!(p, o.dx, o.dy, lo, hi)
    end
end

"`to = from·mask`."
function masked_rows!(o::DropoutOp, p::Pass, to::Buffer, from::Buffer, lo, hi)
    for n = lo:hi, j = 0:(to.H-1)
        a = at(address(p, to, n), offset(to, 0, j))
        b = at(address(p, from, n), offset(from, 0, j))
        m = at(p.arena, o.mask + features(to) * (n - lo) + j * to.W * to.C)
        each_vector(Val(16), to.W * to.C) do i, width, lanes
            product = load(width, at(b, i), lanes) * load(width, at(m, i), lanes)
            store(product, at(a, i), lanes)
        end
    end
end

function copy_rows!(p::Pass, to::Buffer, from::Buffer, lo, hi)
    for n = lo:hi, j = 0:(to.H-1)
        a = at(address(p, to, n), offset(to, 0, j))
        b = at(address(p, from, n), offset(from, 0, j))
        unsafe_copyto!(a, b, to.W * to.C)
    end
end

# BatchNorm over all samples and pixels of a channel.

"""
`y = λ(γ·x̂ + β)` with x̂ normalised over the batch, or by the running statistics in test mode. `β`, `γ` are offsets of
parameters and `running` of the statistics (μ, then σ²), -1 where the layer has none; `saved` holds the mean and 1/σ in use.
"""
struct BatchNormOp{S,DX,DY} <: Operation
    λ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    β::Int
    γ::Int
    running::Int
    saved::Int
    ϵ::Float32
    momentum::Float32
    active::Union{Nothing,Bool}
end

function shape_after(l::BatchNorm, s::Shape)
    s.kind in (:image, :features) || unsupported("BatchNorm takes images (W, H, C) and features (F)")
    l.chs == s.C || unsupported("it takes $(l.chs) channels, and $(s.C) reach it")
    s.flat === nothing || unsupported("BatchNorm follows a flatten; put it before")
    return s
end

parts(l::BatchNorm) = l.λ isa FROM_OUTPUT ? (l,) :
    (BatchNorm(identity, l.β, l.γ, l.μ, l.σ², l.ϵ, l.momentum, l.affine, l.track_stats, l.active, l.chs), Activation(l.λ))

function build(l::BatchNorm, b::Builder, s::Shape, x, dx, y, dy)
    β, γ = l.affine ? (parameter!(b, l.β), parameter!(b, l.γ)) : (-1, -1)
    return BatchNormOp(l.λ, x, dx, y, dy, β, γ, l.track_stats ? running!(b, l.μ, l.σ²) : -1, workspace!(b, 2 * s.C), Float32(l.ϵ),
                       Float32(l.momentum), l.active)
end

"The offset of a layer's mean and variance, which stand side by side."
function running!(b::Builder, μ, σ²)
    haskey(b.statistics, μ) && haskey(b.statistics, σ²) || unsupported("its statistics are used twice, or aren't Float32")
    m, v = pop!(b.statistics, μ), pop!(b.statistics, σ²)
    first(v) == last(m) + 1 || unsupported("its mean and variance don't stand side by side")
    return first(m) - 1
end

training(o::BatchNormOp, p::Pass) = o.active === nothing ? p.train : o.active

function forward!(o::BatchNormOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_vector((c, width, mask) -> normalise_channels!(o, p, c, width, mask, lo, hi), Val(16), o.x.C)
end

"Call `f(k)` for each pixel; `k` maps a buffer to the address of the pixel's channels from `c` on."
@inline function each_pixel(f::F, p::Pass, b::Buffer, c, lo, hi) where {F}
    for n in lo:hi, j in 0:b.H-1, i in 0:b.W-1
        f(buffer -> at(address(p, buffer, n), offset(buffer, i, j) + c))
    end
end

function normalise_channels!(o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi) where {L}
    one = Vec{L,Float32}(1.0f0)
    m, v = batch_moments(o, p, c, width, mask, lo, hi)
    scale = one / sqrt(v + o.ϵ)
    store(m, at(p.arena, o.saved + c), mask)
    store(scale, at(p.arena, o.saved + o.x.C + c), mask)
    γ = o.γ < 0 ? one : load(width, at(p.w, o.γ + c), mask)
    β = o.β < 0 ? zero(one) : load(width, at(p.w, o.β + c), mask)
    each_pixel(p, o.x, c, lo, hi) do k
        x̂ = (load(width, k(o.x), mask) - m) * scale
        store(activate(o.λ, muladd(γ, x̂, β)), k(o.y), mask)
    end
end

"The mean and variance to normalise by; in training the running ones follow."
function batch_moments(o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi) where {L}
    μ, σ² = at(p.stats, o.running + c), at(p.stats, o.running + o.x.C + c)
    if !training(o, p) && o.running >= 0
        return load(width, μ, mask), load(width, σ², mask)
    end
    count = columns(o.x, hi - lo + 1)
    m = pixel_sum((x, _) -> x, o, p, c, width, mask, lo, hi, zero(Vec{L,Float32})) / Float32(count)
    v = pixel_sum((x, m) -> (x - m) * (x - m), o, p, c, width, mask, lo, hi, m) / Float32(count)
    if training(o, p) && o.running >= 0
        t = o.momentum
        store(muladd(1.0f0 - t, load(width, μ, mask), t * m), μ, mask)
        # The running variance is the unbiased one; a single value has none.
        count > 1 && store(muladd(1.0f0 - t, load(width, σ², mask), (t * count / (count - 1.0f0)) * v), σ², mask)
    end
    return m, v
end

@inline function pixel_sum(f::F, o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi, m) where {F,L}
    sum = zero(Vec{L,Float32})
    for n in lo:hi, j in 0:o.x.H-1, i in 0:o.x.W-1
        sum += f(load(width, at(address(p, o.x, n), offset(o.x, i, j) + c), mask), m)
    end
    return sum
end

function backward!(o::BatchNormOp, p::Pass, lo, hi)
    o.dy === nothing && return
    o.dx === nothing || zeroborder!(p, o.dx, lo, hi)
    each_vector((c, width, mask) -> normalise_back!(o, p, c, width, mask, lo, hi), Val(16), o.x.C)
end

function normalise_back!(o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi) where {L}
    m, scale = load(width, at(p.arena, o.saved + c), mask), load(width, at(p.arena, o.saved + o.x.C + c), mask)
    dβ, dγ = affine_gradient!(o, p, c, width, mask, lo, hi, m, scale)
    o.β < 0 || store(dβ, at(p.g, o.β + c), mask)
    o.γ < 0 || store(dγ, at(p.g, o.γ + c), mask)
    o.dx === nothing && return
    γ = o.γ < 0 ? Vec{L,Float32}(1.0f0) : load(width, at(p.w, o.γ + c), mask)
    # With running statistics the mean and the variance are constants.
    share = training(o, p) || o.running < 0 ? 1.0f0 / columns(o.x, hi - lo + 1) : 0.0f0
    each_pixel(p, o.x, c, lo, hi) do k
        x̂ = (load(width, k(o.x), mask) - m) * scale
        store(γ * scale * (load(width, k(o.dy), mask) - share * (dβ + x̂ * dγ)), k(o.dx), mask)
    end
end

"Pull `dy` back through λ, in place; returns the gradients of β and γ."
function affine_gradient!(o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi, m, scale) where {L}
    dβ = dγ = zero(Vec{L,Float32})
    for n in lo:hi, j in 0:o.x.H-1, i in 0:o.x.W-1
        to = at(address(p, o.dy, n), offset(o.dy, i, j) + c)
        d = pull(o.λ, load(width, at(address(p, o.y, n), offset(o.y, i, j) + c), mask), load(width, to, mask))
        store(d, to, mask)
        dβ += d
        dγ += d * (load(width, at(address(p, o.x, n), offset(o.x, i, j) + c), mask) - m) * scale
    end
    return dβ, dγ
end

# BatchNorm, over all samples and pixels of a channel.

"""
    BatchNormOp

`y = λ(γ·x̂ + β)` with x̂ normalized by the batch's statistics, or by the running ones in
test mode. `β` and `γ` are offsets of parameters, `running` is the offset of the running
statistics (μ, then σ²); each is -1 if the layer has none. `saved` holds the mean and 1/σ of
the last forward pass.
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

function output_shape(l::BatchNorm, s::Shape)
    has_pixels(s) || s.kind === :features ||
        unsupported("BatchNorm takes images (W, H, C), signals (W, C) and features (F)")
    l.chs == s.C || unsupported("it takes $(l.chs) channels, but its input has $(s.C)")
    s.flat === nothing || unsupported("BatchNorm follows a flatten; put it before")
    return s
end

function decompose(l::BatchNorm)
    l.λ isa FROM_OUTPUT && return (l,)
    linear = BatchNorm(
        identity, l.β, l.γ, l.μ, l.σ², l.ϵ, l.momentum,
        l.affine, l.track_stats, l.active, l.chs
    )
    return (linear, Activation(l.λ))
end

function make_operation(l::BatchNorm, b::Builder, s::Shape, x, dx, y, dy)
    β, γ = l.affine ? (parameter!(b, l.β), parameter!(b, l.γ)) : (-1, -1)
    running = l.track_stats ? running_statistics!(b, l.μ, l.σ²) : -1
    saved = workspace!(b, 2 * s.C)
    ϵ, momentum = Float32(l.ϵ), Float32(l.momentum)
    return BatchNormOp(l.λ, x, dx, y, dy, β, γ, running, saved, ϵ, momentum, l.active)
end

"The offset of a layer's running mean and variance, which are adjacent."
function running_statistics!(b::Builder, μ, σ²)
    haskey(b.statistics, μ) && haskey(b.statistics, σ²) ||
        unsupported("its statistics are used twice, or aren't Float32")
    m, v = pop!(b.statistics, μ), pop!(b.statistics, σ²)
    first(v) == last(m) + 1 || unsupported("its mean and variance aren't adjacent")
    return first(m) - 1
end

training(o::BatchNormOp, p::Pass) = o.active === nothing ? p.train : o.active

function forward!(o::BatchNormOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_vector(Val(16), o.x.C) do c, width, mask
        normalise_channels!(o, p, c, width, mask, lo, hi)
    end
end

"""
Call `f(k)` for each pixel. `k(buffer)` is the address of the pixel's channels from `c` on
in a buffer.
"""
@inline function each_pixel(f::F, p::Pass, b::Buffer, c, lo, hi) where {F}
    for n = lo:hi, j = 0:(b.H-1), i = 0:(b.W-1)
        f(buffer -> at(address(p, buffer, n), offset(buffer, i, j) + c))
    end
end

function normalise_channels!(
    o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi
) where {L}
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

"The mean and variance to normalise by. In training, also updates the running statistics."
function batch_moments(o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi) where {L}
    μ, σ² = at(p.stats, o.running + c), at(p.stats, o.running + o.x.C + c)
    if !training(o, p) && o.running >= 0
        return load(width, μ, mask), load(width, σ², mask)
    end
    count = columns(o.x, hi - lo + 1)
    none = zero(Vec{L,Float32})
    m = pixel_sum((x, _) -> x, o, p, c, width, mask, lo, hi, none) / Float32(count)
    squared(x, m) = (x - m) * (x - m)
    v = pixel_sum(squared, o, p, c, width, mask, lo, hi, m) / Float32(count)
    if training(o, p) && o.running >= 0
        t = o.momentum
        store(muladd(1.0f0 - t, load(width, μ, mask), t * m), μ, mask)
        # The running variance is the unbiased one, which a single value doesn't have.
        if count > 1
            unbiased = (t * count / (count - 1.0f0)) * v
            store(muladd(1.0f0 - t, load(width, σ², mask), unbiased), σ², mask)
        end
    end
    return m, v
end

"The sum of `f(x, m)` over all pixels of all samples."
@inline function pixel_sum(
    f::F, o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi, m
) where {F,L}
    sum = zero(Vec{L,Float32})
    for n = lo:hi, j = 0:(o.x.H-1), i = 0:(o.x.W-1)
        sum += f(load(width, at(address(p, o.x, n), offset(o.x, i, j) + c), mask), m)
    end
    return sum
end

function backward!(o::BatchNormOp, p::Pass, lo, hi)
    o.dy === nothing && return
    o.dx === nothing || zeroborder!(p, o.dx, lo, hi)
    each_vector(Val(16), o.x.C) do c, width, mask
        channels_gradient!(o, p, c, width, mask, lo, hi)
    end
end

function channels_gradient!(
    o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi
) where {L}
    m = load(width, at(p.arena, o.saved + c), mask)
    scale = load(width, at(p.arena, o.saved + o.x.C + c), mask)
    dβ, dγ = affine_gradient!(o, p, c, width, mask, lo, hi, m, scale)
    o.β < 0 || store(dβ, at(p.g, o.β + c), mask)
    o.γ < 0 || store(dγ, at(p.g, o.γ + c), mask)
    o.dx === nothing && return
    γ = o.γ < 0 ? Vec{L,Float32}(1.0f0) : load(width, at(p.w, o.γ + c), mask)
    # The running mean and variance are constants.
    share = training(o, p) || o.running < 0 ? 1.0f0 / columns(o.x, hi - lo + 1) : 0.0f0
    each_pixel(p, o.x, c, lo, hi) do k
        x̂ = (load(width, k(o.x), mask) - m) * scale
        dy = load(width, k(o.dy), mask)
        store(γ * scale * (dy - share * (dβ + x̂ * dγ)), k(o.dx), mask)
    end
end

"Backpropagate `dy` through λ in place; returns the gradients of β and γ."
function affine_gradient!(
    o::BatchNormOp, p::Pass, c, width::Val{L}, mask, lo, hi, m, scale
) where {L}
    dβ = dγ = zero(Vec{L,Float32})
    for n = lo:hi, j = 0:(o.x.H-1), i = 0:(o.x.W-1)
        to = at(address(p, o.dy, n), offset(o.dy, i, j) + c)
        y = load(width, at(address(p, o.y, n), offset(o.y, i, j) + c), mask)
        d = backprop(o.λ, y, load(width, to, mask))
        store(d, to, mask)
        dβ += d
        x = load(width, at(address(p, o.x, n), offset(o.x, i, j) + c), mask)
        dγ += d * (x - m) * scale
    end
    return dβ, dγ
end

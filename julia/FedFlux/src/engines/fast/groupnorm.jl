# GroupNorm and InstanceNorm, over the pixels and the channels of a group of one sample.

"""
    GroupNormOp

`y = λ(γ·x̂ + β)` with x̂ normalized over the pixels of a group of channels of its
sample (Wu and He 2018, arXiv:1803.08494). Offsets are as in [`BatchNormOp`](@ref). `saved`
holds the mean and 1/σ of each sample, by channel, and `sums` two values for each channel.
"""
struct GroupNormOp{S,DX,DY} <: Operation
    λ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    β::Int
    γ::Int
    groups::Int
    saved::Int
    sums::Int
    ϵ::Float32
    scales::ExampleValues
    shifts::ExampleValues
end

const SampleNorm = Union{GroupNorm,InstanceNorm}

ngroups(l::GroupNorm) = l.G
ngroups(l::InstanceNorm) = l.chs

without_activation(l::GroupNorm) = GroupNorm(
    l.G, identity, l.β, l.γ, l.μ, l.σ², l.ϵ, l.momentum, l.affine, l.track_stats,
    l.active, l.chs
)
without_activation(l::InstanceNorm) = InstanceNorm(
    identity, l.β, l.γ, l.μ, l.σ², l.ϵ, l.momentum, l.affine, l.track_stats, l.active,
    l.chs
)

decompose(l::SampleNorm) =
    l.λ isa FROM_OUTPUT ? (l,) : (without_activation(l), Activation(l.λ))

function output_shape(l::SampleNorm, s::Shape)
    has_pixels(s) || unsupported("it takes images (W, H, C) and signals (W, C)")
    l.track_stats && unsupported("it keeps running statistics (track_stats = true)")
    l.chs == s.C || unsupported("it takes $(l.chs) channels, but its input has $(s.C)")
    return s
end

function make_operation(l::SampleNorm, b::Builder, s::Shape, x, dx, y, dy)
    β, γ = l.affine ? (parameter!(b, l.β), parameter!(b, l.γ)) : (-1, -1)
    saved, sums = workspace!(b, 2 * s.C * b.maxbatch), workspace!(b, 2 * s.C)
    scales, shifts = ExampleValues(b, γ < 0 ? 0 : s.C), ExampleValues(b, β < 0 ? 0 : s.C)
    return GroupNormOp(
        l.λ, x, dx, y, dy, β, γ, ngroups(l), saved, sums, Float32(l.ϵ), scales, shifts
    )
end

"The addresses of a sample's means and of its 1/σ, by channel."
function moments(o::GroupNormOp, p::Pass, n)
    m = at(p.arena, o.saved + 2 * o.x.C * n)
    return m, at(m, o.x.C)
end

"""
Write to each channel of `to` `f` of the mean of `values` over its group: of the sums by
channel over the pixels of a sample.
"""
@inline function group_means!(f::F, o::GroupNormOp, to::Ptr32, values::Ptr32) where {F}
    size = o.x.C ÷ o.groups
    for g = 0:(o.groups-1)
        sum = 0.0f0
        for c = (g*size+1):((g+1)*size)
            sum += unsafe_load(values, c)
        end
        value = f(sum / (size * pixels(o.x)))
        for c = (g*size+1):((g+1)*size)
            unsafe_store!(to, value, c)
        end
    end
end

function forward!(o::GroupNormOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    sums = at(p.arena, o.sums)
    for n = lo:hi
        m, scale = moments(o, p, n)
        channel_sums!((x, _) -> x, o, p, sums, m, n)
        group_means!(identity, o, m, sums)
        channel_sums!((x, m) -> (x - m) * (x - m), o, p, sums, m, n)
        group_means!(v -> 1.0f0 / sqrt(v + o.ϵ), o, scale, sums)
        each_vector(Val(16), o.x.C) do c, width, mask
            normalize_sample!(o, p, m, scale, c, width, mask, n)
        end
    end
end

"The sum of `f(x, m)` over the pixels of sample `n`, by channel."
@inline function channel_sums!(f::F, o::GroupNormOp, p::Pass, to, m, n) where {F}
    each_vector(Val(16), o.x.C) do c, width, mask
        store(sample_sum(f, o, p, at(m, c), c, width, mask, n), at(to, c), mask)
    end
end

@inline function sample_sum(
    f::F, o::GroupNormOp, p::Pass, m, c, width::Val{L}, mask, n
) where {F,L}
    sum, center = zero(Vec{L,Float32}), load(width, m, mask)
    for j = 0:(o.x.H-1)
        x = at(address(p, o.x, n), offset(o.x, 0, j) + c)
        for _ = 1:o.x.W
            sum += f(load(width, x, mask), center)
            x = at(x, o.x.C)
        end
    end
    return sum
end

function normalize_sample!(o::GroupNormOp, p, means, scales, c, width, mask, n)
    m = load(width, at(means, c), mask)
    γ, β = affine(o, p, c, width, mask)
    factor = γ * load(width, at(scales, c), mask)
    for j = 0:(o.x.H-1)
        x = at(address(p, o.x, n), offset(o.x, 0, j) + c)
        y = at(address(p, o.y, n), offset(o.y, 0, j) + c)
        for _ = 1:o.x.W
            store(activate(o.λ, muladd(load(width, x, mask) - m, factor, β)), y, mask)
            x, y = at(x, o.x.C), at(y, o.x.C)
        end
    end
end

function backward!(o::GroupNormOp, p::Pass, lo, hi)
    o.dy === nothing && return
    dγ = at(p.arena, o.sums)
    dβ = at(dγ, o.x.C)
    for n = lo:hi
        sample_gradient!(o, p, n, dγ, dβ)
        o.γ < 0 || add_or_copy!(at(p.g, o.γ), dγ, o.x.C, n > lo)
        o.β < 0 || add_or_copy!(at(p.g, o.β), dβ, o.x.C, n > lo)
        sample_input_gradient!(o, p, n, dγ, dβ)
    end
end

add_or_copy!(to, from, n, accumulate) =
    accumulate ? add_values!(to, from, n) : unsafe_copyto!(to, from, n)

"The gradients of γ and β for one sample; backpropagates `dy` through λ in place."
function sample_gradient!(o::GroupNormOp, p::Pass, n, dγ, dβ)
    means, scales = moments(o, p, n)
    each_vector(Val(16), o.x.C) do c, width, mask
        m = load(width, at(means, c), mask)
        along, sum = affine_sums!(o, p, m, c, width, mask, n)
        store(along * load(width, at(scales, c), mask), at(dγ, c), mask)
        store(sum, at(dβ, c), mask)
    end
end

"The sums of d·(x - m) and of d over the pixels of a sample."
@inline function affine_sums!(
    o::GroupNormOp, p::Pass, m, c, width::Val{L}, mask, n
) where {L}
    along = sum = zero(Vec{L,Float32})
    for j = 0:(o.x.H-1)
        x = at(address(p, o.x, n), offset(o.x, 0, j) + c)
        y = at(address(p, o.y, n), offset(o.y, 0, j) + c)
        dy = at(address(p, o.dy, n), offset(o.dy, 0, j) + c)
        for _ = 1:o.x.W
            d = load(width, dy, mask)
            if o.λ !== identity
                d = backprop(o.λ, load(width, y, mask), d)
                store(d, dy, mask)
            end
            sum += d
            along = muladd(d, load(width, x, mask) - m, along)
            x, y, dy = at(x, o.x.C), at(y, o.x.C), at(dy, o.x.C)
        end
    end
    return along, sum
end

"The gradient of a sample; overwrites those of γ and β by their means over each group."
function sample_input_gradient!(o::GroupNormOp, p::Pass, n, dγ, dβ)
    o.dx === nothing && return
    zeroborder!(p, o.dx, n, n)
    for d in (dγ, dβ)
        o.γ < 0 || multiply_values!(d, at(p.w, o.γ), o.x.C)
        group_means!(identity, o, d, d)
    end
    means, scales = moments(o, p, n)
    each_vector(Val(16), o.x.C) do c, width, mask
        m, scale = load(width, at(means, c), mask), load(width, at(scales, c), mask)
        slope = load(width, at(dγ, c), mask) * scale
        shift, γ = load(width, at(dβ, c), mask), first(affine(o, p, c, width, mask))
        for j = 0:(o.x.H-1)
            x = at(address(p, o.x, n), offset(o.x, 0, j) + c)
            dy = at(address(p, o.dy, n), offset(o.dy, 0, j) + c)
            dx = at(address(p, o.dx, n), offset(o.dx, 0, j) + c)
            for _ = 1:o.x.W
                d = muladd(γ, load(width, dy, mask), -shift)
                d = muladd(m - load(width, x, mask), slope, d)
                store(scale * d, dx, mask)
                x, dy, dx = at(x, o.x.C), at(dy, o.x.C), at(dx, o.x.C)
            end
        end
    end
end

"Multiply the `n` floats at `to` by those at `by`."
function multiply_values!(to::Ptr32, by::Ptr32, n)
    each_vector(Val(16), n) do i, width, mask
        store(load(width, at(to, i), mask) * load(width, at(by, i), mask), at(to, i), mask)
    end
end

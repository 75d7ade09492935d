# Bounds on how far one update can pull: clipping each to a norm, or around a centre.

"""
    NormClipping(c = 1.0)

The weighted mean of the updates, each scaled down to the norm `c` where it is longer: ū = Σ wᵢ uᵢ min(1, c/‖uᵢ‖) / Σ wᵢ.
The norm is that of all its slots together. Streamed, as [`Mean`](@ref). Sun et al. 2019 (arXiv:1911.07963), section 4.
"""
struct NormClipping <: Aggregator
    c::Float64
    NormClipping(c = 1.0) = c > 0 && isfinite(c) ? new(c) : fail("NormClipping: c is ", c, "; expected a positive number")
end

construct(::Val{:aggregate}, ::Val{:norm_clipping}; c) = NormClipping(c)

start(::NormClipping, θ, n) = start(Mean(), θ, n)
finish(::NormClipping, acc::WeightedSum) = finish(Mean(), acc)

function add!(a::NormClipping, acc::WeightedSum, i, u, weight)
    length = sqrt(sum(squared_norm, values(u)))
    isfinite(length) || return acc
    acc.sum === nothing && (acc.sum = map(zero, u))
    addscaled!(acc.sum, Float32(weight * (length > a.c ? a.c / length : 1.0)), u)
    acc.weight += weight
    return acc
end

"Σ v², added up in Float64."
function squared_norm(v)
    s = 0.0
    @inbounds @simd for i in eachindex(v)
        s += Float64(v[i])^2
    end
    return s
end

"""
    CenteredClipping(tau = 10.0, iterations = 1)

v ← v + (1/n) Σ (uᵢ − v) min(1, τ/‖uᵢ − v‖), `iterations` times, from what the round before gave (0 at first). Unweighted.
Karimireddy, He, Jaggi 2021 (arXiv:2012.10333), Algorithm 2.
"""
struct CenteredClipping <: Buffered
    tau::Float64
    iterations::Int
    function CenteredClipping(tau = 10.0, iterations = 1)
        tau > 0 && isfinite(tau) || fail("CenteredClipping: tau is ", tau, "; expected a positive number")
        iterations > 0 || fail("CenteredClipping: iterations is ", iterations, "; expected 1 or more")
        return new(tau, iterations)
    end
end

construct(::Val{:aggregate}, ::Val{:centered_clipping}; tau, iterations) = CenteredClipping(tau, iterations)

remember(::CenteredClipping, ū) = reduce(vcat, values(ū))

function combine(a::CenteredClipping, X, weights, threads, before)
    v = before === nothing ? zeros(Float32, size(X, 1)) : copy(before)
    for _ in 1:a.iterations
        pull = [min(1, a.tau / sqrt(d)) for d in squared_distances(X, v, threads)] ./ size(X, 2)     # τ/0 is Inf: the pull is 1/n
        v = (1 - Float32(sum(pull))) .* v .+ weighted_sum(X, axes(X, 2), pull, threads)
    end
    return v
end

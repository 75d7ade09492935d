# Bounds on the influence of one update: each is clipped to a norm, or around a center.

"""
    NormClipping(c = 1.0)

The weighted mean of the updates, each scaled down to the norm `c` if it is longer:
ū = Σ wᵢ uᵢ min(1, c/‖uᵢ‖) / Σ wᵢ. The norm is that of all vectors and statistics together.
Streamed, as [`Mean`](@ref). Sun et al. 2019 (arXiv:1911.07963), section 4.
"""
struct NormClipping <: Aggregator
    c::Float64
    NormClipping(c = 1.0) =
        c > 0 && isfinite(c) ? new(c) :
        fail("NormClipping: c is ", c, "; expected a positive number")
end

construct(::Val{:aggregate}, ::Val{:norm_clipping}; c) = NormClipping(c)

start(::NormClipping, n, reference) = start(Mean(), n, reference)
finish(::NormClipping, acc::WeightedSum, threads) = finish(Mean(), acc, threads)

function add!(a::NormClipping, acc::WeightedSum, u, weight)
    norm = sqrt(sum(squared_norm, (values(u.vectors)..., u.stats)))
    isfinite(norm) || return acc
    return add_weighted!(acc, u, weight, norm > a.c ? a.c / norm : 1.0)
end

"""
    CenteredClipping(tau = 10.0, iterations = 1)

v ← v + (1/n) Σ (uᵢ − v) min(1, τ/‖uᵢ − v‖), `iterations` times, from the result of the
round before (0 at first). Unweighted. Karimireddy, He, Jaggi 2021 (arXiv:2012.10333),
Algorithm 2.
"""
struct CenteredClipping <: Buffered
    tau::Float64
    iterations::Int
    function CenteredClipping(tau = 10.0, iterations = 1)
        tau > 0 && isfinite(tau) ||
            fail("CenteredClipping: tau is ", tau, "; expected a positive number")
        iterations > 0 ||
            fail("CenteredClipping: iterations is ", iterations, "; expected 1 or more")
        return new(tau, iterations)
    end
end

construct(::Val{:aggregate}, ::Val{:centered_clipping}; tau, iterations) =
    CenteredClipping(tau, iterations)

carry_over(::CenteredClipping, acc, ū) = concatenated(Float32, values(ū.vectors))

function combine(a::CenteredClipping, X, weights, threads, before)
    v = before === nothing ? zeros(size(X, 1)) : Float64.(before)
    for _ = 1:a.iterations
        distances = sqrt.(squared_distances(X, v, threads))
        pull = min.(1, a.tau ./ distances) ./ size(X, 2)     # τ/0 is Inf: the pull is 1/n
        v = (1 - sum(pull)) .* v .+ weighted_sum(X, axes(X, 2), pull, threads)
    end
    return Float32.(v)
end

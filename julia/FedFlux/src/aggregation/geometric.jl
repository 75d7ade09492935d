"""
    GeometricMedian(; iterations = 100, tolerance = 1e-6, nu = 1e-6)

The point with the least weighted sum of distances to the updates, by the smoothed Weiszfeld
algorithm from their weighted mean: z ← Σ βᵢuᵢ / Σ βᵢ with βᵢ = αᵢ / max(ν, ‖z − uᵢ‖). It
tolerates hostile updates with less than half of the weight. Pillutla, Kakade, Harchaoui
2022 (arXiv:1912.13445), Algorithm 2.

- `iterations`: the maximum number.  `tolerance`: iteration ends when no ‖z − uᵢ‖ changes by
  more than this fraction of the largest.
- `nu`: the smallest distance that is divided by.
"""
struct GeometricMedian <: Buffered
    iterations::Int
    tolerance::Float64
    nu::Float64
end
GeometricMedian(; iterations = 100, tolerance = 1e-6, nu = 1e-6) =
    GeometricMedian(iterations, tolerance, nu)

construct(::Val{:aggregate}, ::Val{:geometric_median}; kw...) = GeometricMedian(; kw...)

function combine(a::GeometricMedian, X, α, threads)
    all(>=(0), α) && sum(α) > 0 || return nothing
    α = α ./ sum(α)
    β, before = α, fill(Inf, length(α))
    z = weighted_sum(X, axes(X, 2), β, threads)
    for _ = 1:a.iterations
        distances = sqrt.(squared_distances(X, z, threads))
        change = maximum(abs.(distances .- before))
        change <= a.tolerance * maximum(distances) && break
        β = α ./ max.(distances, a.nu)
        z = weighted_sum(X, axes(X, 2), β ./ sum(β), threads)
        before = distances
    end
    return z
end

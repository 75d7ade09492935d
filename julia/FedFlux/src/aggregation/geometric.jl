"""
    GeometricMedian(; iterations = 100, tolerance = 1e-6, nu = 1e-6)

The point with the least weighted sum of distances to the updates, by the smoothed Weiszfeld
algorithm: z ← Σ βᵢuᵢ / Σ βᵢ with βᵢ = αᵢ / max(ν, ‖z − uᵢ‖). It tolerates hostile updates
with less than half of the weight, at any distance. Pillutla, Kakade, Harchaoui 2022
(arXiv:1912.13445), Algorithm 2; here from the weighted median of each coordinate, while
theirs begins at a point that one update can move as far as it likes.

- `iterations`: the maximum number.  `tolerance`: each update pulls z with its weight; the
  iteration ends when the pulls balance, but for this fraction of the weight.
- `nu`: the smallest distance that is divided by.
"""
struct GeometricMedian <: Buffered
    iterations::Int
    tolerance::Float64
    nu::Float64
end
GeometricMedian(; iterations = 100, tolerance = 1e-6, nu = 1e-6) =
    GeometricMedian(iterations, tolerance, nu)

function combine(a::GeometricMedian, X, α, threads)
    all(>=(0), α) && sum(α) > 0 || return nothing
    α = α ./ sum(α)
    z = Float64.(weighted_median(X, α, threads))
    for _ = 1:a.iterations
        β = α ./ max.(sqrt.(squared_distances(X, z, threads)), a.nu)
        next = weighted_sum(X, axes(X, 2), β ./ sum(β), threads)
        step = sqrt(sum(squared_distances(reshape(next, :, 1), z, threads)))
        z = next
        # Σ βᵢ(uᵢ − z) is what is left of the pulls, each of which is at most αᵢ.
        sum(β) * step <= a.tolerance && break
    end
    return Float32.(z)
end

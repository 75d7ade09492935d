"""
    Mean()

The weighted mean ū = Σ wᵢ uᵢ / Σ wᵢ, streamed: the memory of one update for any cohort.
FedAvg (arXiv:1602.05629, Algorithm 1) when the weights are the clients' numbers of samples.
"""
struct Mean <: Aggregator end

construct(::Val{:aggregate}, ::Val{:mean}) = Mean()

mutable struct WeightedSum
    sum::Any         # an Update; nothing before the first
    weight::Float64
end

start(::Mean, n, reference) = WeightedSum(nothing, 0.0)

add!(::Mean, acc::WeightedSum, u, weight) = add_weighted!(acc, u, weight)

"Add `weight·u`, its vectors and statistics scaled by `factor`."
function add_weighted!(acc::WeightedSum, u::Update, weight, factor = 1.0)
    acc.sum === nothing && (acc.sum = map(zero, u))
    foreach((s, v) -> axpy!(Float32(weight * factor), v, s),
        (values(acc.sum.vectors)..., acc.sum.stats), (values(u.vectors)..., u.stats))
    foreach((s, v) -> axpy!(Float32(weight), v, s), acc.sum.metrics, u.metrics)
    acc.weight += weight
    return acc
end

function finish(::Mean, acc::WeightedSum, threads)
    acc.weight > 0 || return nothing
    foreach(s -> rmul!(s, Float32(1 / acc.weight)), parts(acc.sum))
    return acc.sum
end

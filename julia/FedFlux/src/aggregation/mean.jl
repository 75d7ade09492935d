# Aggregators: many updates into one.

"""
    Aggregator

Turns many updates into one: `start(a, θ, n) -> acc`, `add!(a, acc, i, u, weight) -> acc` for the i-th update of the
cohort (in cohort order; `u` may be reused by the caller afterwards), `finish(a, acc) -> ū`, or `nothing` when no update
came.
"""
abstract type Aggregator end

"""
    Mean()

The weighted mean ū = Σ wᵢ uᵢ / Σ wᵢ, streamed: one update's memory whatever the cohort. FedAvg (arXiv:1602.05629,
Algorithm 1) when the weights are the clients' numbers of samples.
"""
struct Mean <: Aggregator end

construct(::Val{:aggregate}, ::Val{:mean}) = Mean()

mutable struct WeightedSum
    sum::Any         # a NamedTuple like the updates'; nothing before the first
    weight::Float64
end

start(::Mean, θ, n) = WeightedSum(nothing, 0.0)

function add!(::Mean, acc::WeightedSum, i, u, weight)
    acc.sum === nothing && (acc.sum = map(zero, u))
    addscaled!(acc.sum, Float32(weight), u)
    acc.weight += weight
    return acc
end

addscaled!(sum::NamedTuple, a::Float32, u::NamedTuple) = foreach((s, v) -> axpy!(a, v, s), values(sum), values(u))

function finish(::Mean, acc::WeightedSum)
    acc.weight > 0 || return nothing
    foreach(s -> rmul!(s, Float32(1 / acc.weight)), acc.sum)
    return acc.sum
end

"""
    Mean()

The weighted mean ū = Σ wᵢ uᵢ / Σ wᵢ, streamed: the memory of one sum for any cohort. The
sum is in Float64, so that a long one stays right to Float32's last digits.
FedAvg (arXiv:1602.05629, Algorithm 1) when the weights are the clients' numbers of samples.
"""
struct Mean <: Aggregator end

ismean(::Mean) = true

mutable struct WeightedSum
    sum::Any         # (; vectors, stats, metrics) in Float64; nothing before the first
    weight::Float64
end

start(::Mean, n, reference) = WeightedSum(nothing, 0.0)
total(::Mean, acc::WeightedSum) = acc.sum

add!(::Mean, acc::WeightedSum, u, weight) = add_weighted!(acc, u, weight)

"Add `weight·u`, its vectors and statistics scaled by `factor`."
function add_weighted!(acc::WeightedSum, u::Update, weight, factor = 1.0)
    acc.sum === nothing && (acc.sum = zero_sums(u))
    add_scaled!(acc.sum, u, Float64(weight), weight * factor)
    acc.weight += weight
    return acc
end

zeros64(v) = zeros(Float64, length(v))
zero_sums(u) = (; vectors = map(zeros64, u.vectors), stats = zeros64(u.stats),
    metrics = map(zeros64, u.metrics))

function add_scaled!(sum, u, weight, scaled)
    foreach((s, v) -> add_scaled!(s, v, scaled), values(sum.vectors), values(u.vectors))
    add_scaled!(sum.stats, u.stats, scaled)
    foreach((s, v) -> add_scaled!(s, v, weight), values(sum.metrics), values(u.metrics))
end

function add_scaled!(s::Vector{Float64}, v::AbstractVector, w)
    @inbounds @simd for i in eachindex(s, v)
        s[i] = muladd(w, Float64(v[i]), s[i])
    end
end

function finish(::Mean, acc::WeightedSum, threads)
    acc.weight > 0 || return nothing
    (; vectors, stats, metrics) = acc.sum
    mean(s) = Vector{Float32}(s ./ acc.weight)
    return Update(map(mean, vectors), mean(stats), map(mean, metrics))
end

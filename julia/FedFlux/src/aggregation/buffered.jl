# Aggregators that need all updates of a round at once.

"""
    Buffered

An [`Aggregator`](@ref) that sees all updates of a round together:
`combine(a, X, weights, threads, reference)` gives one vector, or `nothing`. A column of `X`
holds the vectors of one update, one after the other. Statistics are combined apart, by
`combine_stats`: their coordinate-wise median, unless an aggregator says otherwise, since
the distance between parameters says nothing about means and variances. An update with NaN
or Inf is ignored. Memory grows with the cohort: one update for each client.
"""
abstract type Buffered <: Aggregator end

function combine_stats end

combine(a::Buffered, X, weights, threads, reference) = combine(a, X, weights, threads)

"""
What `X`, the columns of `acc` that are in use, give; an aggregator with a state leaves the
next one in `acc.reference`.
"""
combine!(a::Buffered, acc, X, threads) = combine(a, X, acc.weights, threads, acc.reference)

mutable struct Stack
    n::Int                      # of the cohort
    like::Any                   # the shape of the first update
    vectors::Matrix{Float32}    # a column for each update
    stats::Matrix{Float32}
    metrics::WeightedSum
    weights::Vector{Float64}    # of the columns in use
    reference::Any
end

start(::Buffered, n, reference) =
    Stack(n, nothing, zeros(Float32, 0, 0), zeros(Float32, 0, 0), WeightedSum(nothing, 0.0),
        Float64[], reference)

"The matrix for the updates of a round; an aggregator may give one that it had before."
matrix_for(::Buffered, rows, n) = Matrix{Float32}(undef, rows, n)

function add!(a::Buffered, acc::Stack, u, weight)
    allfinite(u) || return acc
    if acc.like === nothing
        acc.like = shape(u)
        acc.vectors = matrix_for(a, sum(acc.like.vectors), acc.n)
        acc.stats = Matrix{Float32}(undef, acc.like.stats, acc.n)
    end
    push!(acc.weights, weight)
    i = length(acc.weights)
    gather!(view(acc.vectors, :, i), values(u.vectors))
    gather!(view(acc.stats, :, i), (u.stats,))
    add_weighted!(acc.metrics, Update((;), Float32[], u.metrics), weight)
    return acc
end

function finish(a::Buffered, acc::Stack, threads)
    n = length(acc.weights)
    n == 0 && return nothing
    v = combine!(a, acc, view(acc.vectors, :, 1:n), threads)
    v === nothing && return nothing
    stats =
        isempty(acc.stats) ? Float32[] :
        combine_stats(a, view(acc.stats, :, 1:n), acc.weights, threads)
    metrics = finish(Mean(), acc.metrics, threads)
    return Update(split_vectors(v, acc.like.vectors), stats,
        metrics === nothing ? map(zeros32, acc.like.metrics) : metrics.metrics)
end

"One vector as the named vectors of these lengths."
function split_vectors(v::Vector{Float32}, lengths::NamedTuple)
    return NamedTuple{keys(lengths)}(Tuple(v[r] for r in consecutive(values(lengths))))
end

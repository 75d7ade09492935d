# Coordinate by coordinate: the median and the trimmed mean (Yin et al. 2018,
# arXiv:1803.01498); and an aggregator that is a plain function.

"""
    Median()

The unweighted median of each coordinate over the updates; for an even number the mean of
the two middle ones. While fewer than half of the updates are hostile, each coordinate lies
within the range of the honest ones. Yin et al. 2018 (arXiv:1803.01498), Definition 1.

```julia
updates = [Update(; delta = Float32[k, 1]) for k in (1, 2, 100)]
combine_updates(Median(), updates).delta     # Float32[2, 1]
```
"""
struct Median <: Buffered end

function combine(::Median, X, weights, threads)
    n = size(X, 2)
    low, high = (n + 1) ÷ 2, n ÷ 2 + 1
    return by_sorted_rows(X, sorting_network(n, low:high), threads) do out, tile
        @inbounds @simd for l = 1:LANES
            out[l] = tile[l, low] / 2 + tile[l, high] / 2
        end
    end
end

combine_stats(::Buffered, S, weights, threads) = combine(Median(), S, weights, threads)

"""
The lower weighted median of each coordinate: the smallest value that reaches half of the
weight together with all smaller ones. `weights` sum to 1.
"""
function weighted_median(X, weights, threads)
    n = size(X, 2)
    network, shares = sorting_network(n), Float32.(weights)
    scratch() = (; carried = zeros(Float32, LANES, n), reached = zeros(Float32, LANES))
    return by_tiles(X, threads, scratch) do out, tile, (; carried, reached)
        foreach(i -> fill!(view(carried, :, i), shares[i]), 1:n)
        sort_rows!(tile, carried, network)
        reach_half!(out, reached, tile, carried)
    end
end

function reach_half!(out, reached, tile, carried)
    fill!(reached, 0)
    copyto!(out, view(tile, :, size(tile, 2)))
    for i in axes(tile, 2)
        @inbounds @simd ivdep for l = 1:LANES
            before = reached[l]
            reached[l] = before + carried[l, i]
            here = (before < 0.5f0) & (reached[l] >= 0.5f0)
            out[l] = ifelse(here, tile[l, i], out[l])
        end
    end
end

"""
    TrimmedMean(fraction = 0.1)

For each coordinate the unweighted mean of the updates without the ⌊fraction·n⌋ smallest and
as many of the largest values. Yin et al. 2018 (arXiv:1803.01498), Definition 2.

- `fraction`: 0 ≤ fraction < 0.5. The default trims nobody of fewer than ten updates, of
  which a run warns.

```julia
updates = [Update(; delta = [v]) for v in (0.5f0, 1f0, 2f0, 100f0)]
combine_updates(TrimmedMean(0.25), updates).delta     # Float32[1.5]
```
"""
struct TrimmedMean <: Buffered
    fraction::Float64
    function TrimmedMean(fraction = 0.1)
        0 <= fraction < 0.5 || fail("TrimmedMean: fraction is ", fraction,
            "; expected 0 or more, and less than 0.5")
        return new(fraction)
    end
end

construct(::Val{:aggregate}, ::Val{:trimmed_mean}; fraction) = TrimmedMean(fraction)

"How many of the smallest, and of the largest, of `n` values are left out."
count_trimmed(a::TrimmedMean, n) = floor(Int, a.fraction * n + 1e-9)    # 0.29·100 < 29

function worth_warning(a::TrimmedMean, n::Integer)
    (a.fraction == 0 || count_trimmed(a, n) > 0) && return nothing
    way = n < 3 ? "" : ", or a fraction from $(ceil(1 / n; digits = 2)) on"
    return "trimmed_mean trims nobody: $(a.fraction) of $n updates is less than one; " *
           "give more clients per round$way"
end

combine_stats(a::TrimmedMean, S, weights, threads) = combine(a, S, weights, threads)

function combine(a::TrimmedMean, X, weights, threads)
    n = size(X, 2)
    trimmed = count_trimmed(a, n)
    kept = (trimmed+1):(n-trimmed)
    # Only which values are in the middle matters, not their order.
    return by_sorted_rows(X, sorting_network(n, kept), threads) do out, tile
        mean_of_columns!(out, tile, kept)
    end
end

function mean_of_columns!(out, tile, kept)
    @inbounds @simd for l = 1:LANES
        s = 0.0
        for i in kept
            s += tile[l, i]
        end
        out[l] = s / length(kept)
    end
end

"""
    FunctionAggregate(f; name = nameof(f), min_updates = 1, statistics = nothing)

Combines the updates of a round by a function of your own: `f(X, weights)` gives one vector
of as many values as `X` has rows. Each column of `X`, a matrix of Float32, is the update of
a client, and `weights` holds the weight of each. When an option takes an aggregator, you
may give `f` itself.

- `name`: what results call it.  `min_updates`: the fewest updates that `f` takes.
- `statistics(S, weights)`: combines BatchNorm's statistics in the same manner; by default
  the median of each.

Throws a [`FedFluxError`](@ref) that names the round if `f` gives anything but a vector of
that many numbers.

```julia
largest(X, weights) = vec(maximum(X; dims = 2))
updates = [Update(; delta = Float32[k, 1]) for k in (1, 2, 100)]
combine_updates(FedFlux.FunctionAggregate(largest), updates).delta     # Float32[100, 1]
```
"""
struct FunctionAggregate <: Buffered
    f::Any
    name::String
    min_updates::Int
    statistics::Any
end

FunctionAggregate(f; name = function_name(f), min_updates = 1, statistics = nothing) =
    FunctionAggregate(f, name, min_updates, statistics)

Base.show(io::IO, a::FunctionAggregate) = print(io, "FunctionAggregate(", a.name, ")")

object_of(::Val{:aggregate}, f::Function) = FunctionAggregate(f)

title(a::FunctionAggregate) = a.name
min_updates(a::FunctionAggregate) = a.min_updates
needs_round(::FunctionAggregate) = true

"""
    call_with_state(f, X, weights, state, round) -> (vector, state)

Call an aggregator's function; one that keeps a state has a method of its own.
"""
call_with_state(f, X, weights, state, round) = f(X, weights), nothing

matrix_for(a::FunctionAggregate, rows, n) = matrix_of(a.f, rows, n)
matrix_of(f, rows, n) = Matrix{Float32}(undef, rows, n)     # f may keep what it was given

function combine!(a::FunctionAggregate, acc::Stack, X, threads)
    round, state =
        acc.reference === nothing ? (0, nothing) :
        (acc.reference.round, acc.reference.kept)
    v, state = call_with_state(a.f, X, acc.weights, state, round)
    acc.reference = (; round, kept = state)
    return checked_vector(v, size(X, 1), "aggregate $(a.name)", round)
end

carry_over(::FunctionAggregate, acc::Stack, ū) = acc.reference.kept

combine_stats(a::FunctionAggregate, S, weights, threads) =
    a.statistics === nothing ? combine(Median(), S, weights, threads) :
    checked_vector(
        a.statistics(S, weights),
        size(S, 1),
        "aggregate $(a.name), statistics",
        0
    )

function checked_vector(v, n, name, round)
    v isa AbstractVector{<:Real} && length(v) == n && return convert(Vector{Float32}, v)
    came = v isa AbstractArray ? summary(v) : first(repr(v), 80)
    at = round == 0 ? "" : " in round $round"
    fail(name, at, ": expected a vector of ", n, " numbers, got ", came)
end

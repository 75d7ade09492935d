# Updates are chosen by how close they lie to the others: Krum, Multi-Krum (Blanchard et al.
# 2017, arXiv:1703.02757) and Bulyan (El Mhamdi et al. 2018, arXiv:1802.07927).

"""
    Krum(f = 1)

The one update whose `n − f − 2` nearest others are closest to it, by the sum of squared
distances; it holds against `f` hostile updates. Unweighted. Throws a [`FedFluxError`](@ref)
for fewer than `2f + 3` updates. Blanchard et al. 2017 (arXiv:1703.02757), section 4.

```julia
updates = [Update(; delta = [v]) for v in Float32[1, 1.1, 0.9, 1, 1e10]]
combine_updates(Krum(1), updates).delta     # Float32[1.0]
```
"""
struct Krum <: Buffered
    f::Int
    Krum(f = 1) = (check_hostile("Krum", f); new(f))
end

check_hostile(name, f) =
    f >= 0 || fail(name, ": f is ", f, "; expected 0 or more hostile updates")

construct(::Val{:aggregate}, ::Val{:krum}; f) = Krum(f)
min_updates(a::Krum) = 2a.f + 3

function combine(a::Krum, X, weights, threads)
    check_count(a, size(X, 2))
    return X[:, argmin(krum_scores(pairwise_distances(X, threads), axes(X, 2), a.f))]
end

"""
    MultiKrum(f = 1, m = nothing)

The mean of the `m` updates with the best [`Krum`](@ref) scores; `n − f` of them if `m`
isn't given. Needs `2f + 3` updates, and `m` of them. Blanchard et al. 2017
(arXiv:1703.02757), section 4.
"""
struct MultiKrum <: Buffered
    f::Int
    m::Union{Nothing,Int}
    function MultiKrum(f = 1, m = nothing)
        check_hostile("MultiKrum", f)
        m === nothing || m >= 1 ||
            fail("MultiKrum: m is ", m, "; expected 1 or more updates")
        return new(f, m)
    end
end

construct(::Val{:aggregate}, ::Val{:multi_krum}; f, m) = MultiKrum(f, m)
min_updates(a::MultiKrum) = max(2a.f + 3, something(a.m, 1))

function combine(a::MultiKrum, X, weights, threads)
    n = size(X, 2)
    check_count(a, n)
    scores = krum_scores(pairwise_distances(X, threads), 1:n, a.f)
    return mean_of(X, sort!(sortperm(scores)[1:something(a.m, n-a.f)]), threads)
end

"""
For each of the updates `among`, the sum of the squared distances to its nearest others: all
but f + 1 of them, but at least one.
"""
function krum_scores(D, among, f)
    nearest = clamp(length(among) - f - 2, 1, max(length(among) - 1, 1))
    return map(among) do i
        others = [D[i, j] for j in among if j != i]
        isempty(others) ? 0.0 : sum(partialsort!(others, 1:nearest))
    end
end

"""
    Bulyan(f = 1)

Krum chooses `n − 2f` updates, one after another; then each coordinate is the mean of the
`n − 4f` chosen values nearest to their median. Unweighted. Throws a [`FedFluxError`](@ref)
for fewer than `4f + 3` updates. El Mhamdi et al. 2018 (arXiv:1802.07927), Algorithm 2.
"""
struct Bulyan <: Buffered
    f::Int
    Bulyan(f = 1) = (check_hostile("Bulyan", f); new(f))
end

construct(::Val{:aggregate}, ::Val{:bulyan}; f) = Bulyan(f)
min_updates(a::Bulyan) = 4a.f + 3

function combine(a::Bulyan, X, weights, threads)
    n = size(X, 2)
    check_count(a, n)
    D = pairwise_distances(X, threads)
    left, chosen = collect(1:n), Int[]
    while length(chosen) < n - 2a.f
        push!(chosen, popat!(left, argmin(krum_scores(D, left, a.f))))
    end
    m, kept = length(chosen), n - 4a.f
    return by_sorted_rows(X[:, sort!(chosen)], sorting_network(m), threads) do out, tile
        for l = 1:LANES
            out[l] = mean_nearest_median(view(tile, l, :), kept)
        end
    end
end

"""
The mean of the `kept` values nearest to the median of the `sorted` values: they lie side by
side.
"""
function mean_nearest_median(sorted, kept)
    m = length(sorted)
    median = Float64(sorted[(m+1)÷2]) / 2 + Float64(sorted[m÷2+1]) / 2
    first, last = 1, m
    while last - first + 1 > kept
        median - sorted[first] > sorted[last] - median ? (first += 1) : (last -= 1)
    end
    return sum(Float64(sorted[i]) for i = first:last) / kept
end

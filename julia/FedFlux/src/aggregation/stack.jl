# What the aggregators share that need all updates at once: the updates side by side, and work over blocks of coordinates.

"""
    Buffered

An [`Aggregator`](@ref) that sees all updates of a round together, as the columns of a matrix: `combine(a, X, weights,
threads, given)` gives one vector, or `nothing`. An update is the vector of all its slots, one after the other, so that no slot
escapes. An update with NaN or Inf counts as not sent. Memory grows with the cohort: one update for each client.
"""
abstract type Buffered <: Aggregator end

mutable struct Stack
    slots::Any                 # the first update's names and lengths
    columns::Matrix{Float32}
    weights::Vector{Float64}   # of the columns in use
    given::Any                 # the server's own update, or what was kept from the round before
end

start(::Buffered, θ, n, given = nothing) = Stack(nothing, Matrix{Float32}(undef, 0, n), Float64[], given)
combine(a::Buffered, X, weights, threads, given) = combine(a, X, weights, threads)

function add!(::Buffered, acc::Stack, i, u, weight)
    all(allfinite, values(u)) || return acc
    if acc.slots === nothing
        acc.slots = map(length, u)
        acc.columns = Matrix{Float32}(undef, sum(acc.slots), size(acc.columns, 2))
    end
    push!(acc.weights, weight)
    gather!(view(acc.columns, :, length(acc.weights)), values(u))
    return acc
end

finish(a::Buffered, acc::Stack) = finish(a, acc, 1)
function finish(a::Buffered, acc::Stack, threads)
    n = length(acc.weights)
    n == 0 && return nothing
    v = combine(a, view(acc.columns, :, 1:n), acc.weights, threads, acc.given)
    return v === nothing ? nothing : split_slots(v, acc.slots)
end

"The vector of an update as its slots."
function split_slots(v::Vector{Float32}, slots::NamedTuple)
    stops = cumsum(collect(Int, values(slots)))
    return NamedTuple{keys(slots)}(Tuple(v[stop-n+1:stop] for (stop, n) in zip(stops, values(slots))))
end

"Whether a vector holds neither NaN nor Inf: v·0 is then 0, which adds up without a branch."
function allfinite(v::AbstractVector{<:AbstractFloat})
    s = zero(eltype(v))
    @inbounds @simd for i in eachindex(v)
        s += v[i] * zero(eltype(v))
    end
    return iszero(s)
end
allfinite(v) = all(isfinite, v)

"""
    in_blocks(work, n, block, threads)

Call `work(range, scratch)` for the ranges of `block` that make up 1:n, spread over `threads` tasks; `scratch()` makes what
each task works in. The ranges don't depend on the threads.
"""
function in_blocks(work, n, block, threads, scratch = Returns(nothing))
    next = Threads.Atomic{Int}(0)
    function some()
        own = scratch()
        while (b = Threads.atomic_add!(next, 1)) * block < n
            work(b*block+1:min((b + 1) * block, n), own)
        end
    end
    threads == 1 && return some()
    foreach(wait, [Threads.@spawn some() for _ in 1:min(threads, cld(n, block))])
end

"Σ wᵢ·X[:, i] over the columns `which`; the same bits for any number of threads."
function weighted_sum(X, which, weights, threads)
    out = zeros(Float32, size(X, 1))
    in_blocks(size(X, 1), 4096, threads) do rows, _
        for (i, w) in zip(which, weights)
            w = Float32(w)
            @inbounds @simd for r in rows
                out[r] = muladd(w, X[r, i], out[r])
            end
        end
    end
    return out
end

mean_of(X, which, threads) = weighted_sum(X, which, fill(1 / length(which), length(which)), threads)

"‖X[:, i] − z‖² for each column i."
function squared_distances(X, z, threads)
    partial = zeros(Float64, cld(size(X, 1), DISTANCE_BLOCK), size(X, 2))
    in_blocks(size(X, 1), DISTANCE_BLOCK, threads) do rows, _
        for i in axes(X, 2)
            s = 0.0f0
            @inbounds @simd for r in rows
                d = X[r, i] - z[r]
                s = muladd(d, d, s)
            end
            partial[cld(last(rows), DISTANCE_BLOCK), i] = s
        end
    end
    return vec(sum(partial; dims = 1))
end

const DISTANCE_BLOCK = 1024     # coordinates that are summed in Float32; the blocks are summed in Float64

# What every aggregator has: the threads that it may use, what it keeps for the next round and is then given, the server's own
# update in its place.
start(a::Aggregator, θ, n, given) = start(a, θ, n)
finish(a::Aggregator, acc, threads) = finish(a, acc)
remember(::Aggregator, ū) = nothing

"Whether an aggregator is given the server's own update."
trains_root(::Aggregator) = false

"An error where fewer updates came than the aggregator can bear."
need(a, n) = n >= atleast(a) || fail(nameof(typeof(a)), " needs ", atleast(a), " updates and got ", n)

"The fewest updates that an aggregator can make one of."
atleast(::Aggregator) = 1

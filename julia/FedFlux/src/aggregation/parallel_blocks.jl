# Work over blocks of coordinates, spread over threads.

"""
    in_blocks(work, n, block, threads, scratch = Returns(nothing))

Call `work(range, scratch)` for the ranges of length `block` that make up 1:n, spread over
`threads` tasks; `scratch()` makes the workspace of a task. The ranges don't depend on the
number of threads.
"""
function in_blocks(work, n, block, threads, scratch = Returns(nothing))
    next = Threads.Atomic{Int}(0)
    function some()
        own = scratch()
        while (b = Threads.atomic_add!(next, 1)) * block < n
            work((b*block+1):min((b+1)*block, n), own)
        end
    end
    threads == 1 && return some()
    foreach(wait, [Threads.@spawn some() for _ = 1:min(threads, cld(n, block))])
end

"""
Σ wᵢ·X[:, i] over the columns `which`, in Float64: a huge column has a tiny weight, which
Float32 doesn't hold. The same bits for any number of threads.
"""
function weighted_sum(X, which, weights, threads)
    out = zeros(Float64, size(X, 1))
    in_blocks(size(X, 1), 2048, threads) do rows, _
        for (i, w) in zip(which, weights)
            w = Float64(w)
            @inbounds @simd for r in rows
                out[r] = muladd(w, Float64(X[r, i]), out[r])
            end
        end
    end
    return out
end

mean_of(X, which, threads) =
    Float32.(weighted_sum(X, which, fill(1 / length(which), length(which)), threads))

"‖X[:, i] − z‖² for each column i, in Float64: no square overflows or vanishes."
function squared_distances(X, z, threads)
    partial = zeros(Float64, cld(size(X, 1), DISTANCE_BLOCK), size(X, 2))
    in_blocks(size(X, 1), DISTANCE_BLOCK, threads) do rows, _
        for i in axes(X, 2)
            s = 0.0
            @inbounds @simd for r in rows
                d = Float64(X[r, i]) - Float64(z[r])
                s = muladd(d, d, s)
            end
            partial[cld(last(rows), DISTANCE_BLOCK), i] = s
        end
    end
    return vec(sum(partial; dims = 1))
end

const DISTANCE_BLOCK = 1024     # coordinates: a block of z stays in the first cache

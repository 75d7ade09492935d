# Sorting many short columns at once: a sorting network compares whole rows, so a vector
# register sorts 16 coordinates.

"""
    sorting_network(n, wanted = 1:n) -> Vector{Tuple{Int,Int}}

Batcher's odd-even merge sort for n values as the comparisons (i, j), i < j, in order; each
puts the smaller of the two at i. Comparisons that the places `wanted` don't depend on are
left out.

Batcher, Sorting networks and their applications, AFIPS 1968; Knuth, TAOCP 3, 5.2.2,
algorithm M.
"""
function sorting_network(n, wanted = 1:n)
    pairs = Tuple{Int,Int}[]
    top = nextpow(2, max(n, 2)) ÷ 2
    p = top
    while p > 0
        q, r, d = top, 0, p
        while true
            append!(pairs, (i + 1, i + d + 1) for i = 0:(n-d-1) if i & p == r)
            q == p && break
            d, q, r = q - p, q ÷ 2, p
        end
        p ÷= 2
    end
    live = Set{Int}(wanted)
    kept = Tuple{Int,Int}[]
    for (i, j) in Iterators.reverse(pairs)
        (i in live || j in live) || continue
        push!(live, i, j)
        push!(kept, (i, j))
    end
    return reverse!(kept)
end

const LANES = 32     # coordinates that are sorted together

"Sort the values of each row of `tile`, (LANES, n), by the comparisons of a network."
function sort_rows!(tile::Matrix{Float32}, network)
    @inbounds for (i, j) in network
        @simd ivdep for l = 1:LANES
            a, b = tile[l, i], tile[l, j]
            tile[l, i] = ifelse(b < a, b, a)
            tile[l, j] = ifelse(b < a, a, b)
        end
    end
    return tile
end

"The same, and what is `carried` by each value moves with it."
function sort_rows!(tile::Matrix{Float32}, carried::Matrix{Float32}, network)
    @inbounds for (i, j) in network
        @simd ivdep for l = 1:LANES
            a, b = tile[l, i], tile[l, j]
            p, q = carried[l, i], carried[l, j]
            swap = b < a
            tile[l, i] = ifelse(swap, b, a)
            tile[l, j] = ifelse(swap, a, b)
            carried[l, i] = ifelse(swap, q, p)
            carried[l, j] = ifelse(swap, p, q)
        end
    end
    return tile
end

"""
    by_tiles(combine!, X, threads, scratch = Returns(nothing)) -> Vector{Float32}

For each coordinate, one number from its values in all columns of `X`: `combine!(out, tile,
s)` gets LANES coordinates and fills `out`; `s` is what `scratch()` made for its task.
"""
function by_tiles(combine!::F, X, threads, scratch = Returns(nothing)) where {F}
    d, n = size(X)
    result = Vector{Float32}(undef, d)
    own() = (; tile = zeros(Float32, LANES, n), out = zeros(Float32, LANES), s = scratch())
    in_blocks(d, 128LANES, threads, own) do rows, (; tile, out, s)
        for from = first(rows):LANES:last(rows)
            width = min(LANES, last(rows) - from + 1)
            load_tile!(tile, X, from, width)
            combine!(out, tile, s)
            copyto!(result, from, out, 1, width)
        end
    end
    return result
end

"[`by_tiles`](@ref) for `combine!(out, tile)` and values that the `network` has sorted."
by_sorted_rows(combine!::F, X, network, threads) where {F} =
    by_tiles((out, tile, _) -> combine!(out, sort_rows!(tile, network)), X, threads)

function load_tile!(tile, X, from, width)
    if width == LANES
        @inbounds for i in axes(X, 2)
            @simd ivdep for l = 1:LANES
                tile[l, i] = X[from+l-1, i]
            end
        end
    else
        for i in axes(X, 2), l = 1:width
            tile[l, i] = X[from+l-1, i]
        end
    end
end

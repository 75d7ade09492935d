# Squared distances between all pairs of updates.

"""
    pairwise_distances(X, threads) -> Matrix{Float64}

‖xᵢ − xⱼ‖² for all columns of `X`. By differences: ‖xᵢ‖² + ‖xⱼ‖² − 2xᵢ·xⱼ, one matrix
product, loses every digit if two updates are close to each other and far from 0. Each
block of coordinates is summed in Float32, or in Float64 if that overflows; the blocks
are summed in Float64.
"""
function pairwise_distances(X::AbstractMatrix{Float32}, threads)
    d, n = size(X)
    blocks = cld(d, PAIR_BLOCK)
    group = cld(blocks, 64)       # sums of at most 64 groups are kept, whatever the size
    sums = zeros(Float64, n, n, cld(blocks, group))
    new_tile() = zeros(Float32, PAIR_BLOCK, cld(n, TILE) * TILE)
    in_blocks(blocks, group, threads, new_tile) do mine, tile
        D = @view sums[:, :, cld(last(mine), group)]
        for b in mine
            rows = ((b-1)*PAIR_BLOCK+1):min(b*PAIR_BLOCK, d)
            fill_tile!(tile, X, rows)
            add_block!(D, tile, n)
        end
    end
    D = dropdims(sum(sums; dims = 3); dims = 3)
    for j = 1:n, i = 1:j
        D[j, i] = D[i, j] = i == j ? 0.0 : D[i, j]
    end
    return D
end

const PAIR_BLOCK = 512      # coordinates: two tiles of TILE columns stay in the first cache
const TILE = 4              # TILE × TILE pairs share their loads

function fill_tile!(tile, X, rows)
    length(rows) < PAIR_BLOCK && fill!(tile, 0)
    @inbounds for i in axes(X, 2)
        @simd ivdep for r in eachindex(rows)
            tile[r, i] = X[rows[r], i]
        end
    end
end

function add_block!(D, tile, n)
    for j = 1:TILE:n, i = 1:TILE:j
        s = tile_distances(Float32, tile, i - 1, j - 1)
        # The sum of the 16 is finite only where each of them is.
        isfinite(sum(s)) ? add_tile!(D, s, i, j, n) :
        add_tile!(D, tile_distances(Float64, tile, i - 1, j - 1), i, j, n)
    end
end

function add_tile!(D, s, i, j, n)
    for q = 1:TILE, p = 1:TILE
        i + p - 1 <= n && j + q - 1 <= n && (D[i+p-1, j+q-1] += s[p+TILE*(q-1)])
    end
end

# The code that adds (a − b)² to s.
square(s, a, b) = :($s = let d = $a - $b
    muladd(d, d, $s)
end)

# 16 sums of type T at a time, so that each loaded value serves four differences.
@generated function tile_distances(::Type{T}, tile, i, j) where {T}
    pairs = [(p, q) for p = 1:TILE, q = 1:TILE]
    sums = [Symbol(:s, p, q) for (p, q) in pairs]
    squares = [square(Symbol(:s, p, q), Symbol(:a, p), Symbol(:b, q)) for (p, q) in pairs]
    quote
        $((:($s = zero(T)) for s in sums)...)
        @inbounds @simd for r = 1:PAIR_BLOCK
            $((:($(Symbol(:a, p)) = T(tile[r, i+$p])) for p = 1:TILE)...)
            $((:($(Symbol(:b, q)) = T(tile[r, j+$q])) for q = 1:TILE)...)
            $(squares...)
        end
        return ($(sums...),)
    end
end

# GEMM with register tiles, for layers whose weights are a matrix. It needs no copy into
# BLAS's order, and its epilogue adds the bias and applies the activation.

"""
    Gemm(cpu, M, K, ldx, ldy, columns)

The products with an (M, K) matrix `A`, for up to `columns` columns of x (K values, `ldx`
floats apart) and of y (M values, `ldy` floats apart):

- `gemm!` for `y = σ(b + A·x)`;
- `gemm_input_gradient!` for `dx = Aᵀ·dy`;
- `gemm_weight_gradient!` for `dA = dy·xᵀ`.
"""
struct Gemm
    M::Int
    K::Int
    forward::OffsetTable
    backward::OffsetTable
    whole::Vector{Run}     # all of a column of x
    tiling::Tiling
    backward_tiling::Tiling
    gradient_tiling::Tiling
end

function Gemm(cpu, M, K, ldx, ldy, columns)
    tiling = Tiling(M, V -> tile_pixels(V, columns, cpu), cpu)
    backward_tiling = Tiling(K, V -> tile_pixels(V, columns, cpu), cpu)
    gradient_tiling = Tiling(M, V -> tile_weights(V, K, cpu), cpu)
    xoffsets = Int32[ldx * n for n = 0:(columns-1)]
    yoffsets = Int32[ldy * n for n = 0:(columns-1)]
    whole = [Run(0, K)]
    runs = split_runs(whole, tile_channels(tiling))
    backward_runs = split_runs([Run(0, M)], tile_channels(backward_tiling))
    forward = OffsetTable(xoffsets, yoffsets, runs, 1, columns)
    backward = OffsetTable(yoffsets, xoffsets, backward_runs, 1, columns)
    return Gemm(M, K, forward, backward, whole, tiling, backward_tiling, gradient_tiling)
end

function gemm!(
    σ::S, o::Gemm, y, A, x, n; bias = Ptr32(C_NULL), accumulate = false
) where {S}
    macrokernel!(σ, o.tiling, o.forward, o.M, y, 0, x, 0, n, A, bias, accumulate)
end

"The floats of workspace that `gemm_input_gradient!` packs a block of `Aᵀ` into."
packing_length(o::Gemm) = tile_channels(o.backward_tiling) * o.M

function gemm_input_gradient!(o::Gemm, dx, A, dy, n, packed)
    wide = tile_channels(o.backward_tiling)
    for from = 0:wide:(o.K-1)
        C = min(wide, o.K - from)
        transpose!(packed, C, at(A, from * o.M), o.M, C, o.M)
        macrokernel!(
            identity, o.backward_tiling, o.backward, C, at(dx, from), 0, dy, 0, n, packed,
            Ptr32(C_NULL), false
        )
    end
end

function gemm_weight_gradient!(o::Gemm, dA, dy, x, n; accumulate = false)
    outer_macrokernel!(
        o.gradient_tiling, o.whole, dA, o.M, dy, 0, x, 0,
        pointer(o.forward.xoffsets), pointer(o.forward.yoffsets), n, 1, accumulate
    )
end

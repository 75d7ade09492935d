# Matrix products in register tiles, for layers whose weights are a matrix: no copy into BLAS's order, bias and activation
# fused.

"""
    Product(cpu, M, K, ldx, ldy, columns)

Products with an (M, K) matrix `A`, over up to `columns` columns of x (K values, `ldx` floats apart) and of y (M values, `ldy`
apart): `multiply!` for `y = σ(b + A·x)`, `multiply_back!` for `dx = Aᵀ·dy`, `outer!` for `dA = dy·xᵀ`.
"""
struct Product{F<:Tiling,B<:Tiling,G<:Tiling}
    M::Int
    K::Int
    ahead::Sweep
    back::Sweep
    tiling::F
    backtiling::B
    gradtiling::G
end

function Product(cpu, M, K, ldx, ldy, columns)
    tiling = Tiling(M, V -> tile_pixels(V, columns, cpu), cpu)
    backtiling = Tiling(K, V -> tile_pixels(V, columns, cpu), cpu)
    px, py = Int32[ldx * n for n in 0:columns-1], Int32[ldy * n for n in 0:columns-1]
    return Product(M, K, Sweep(px, py, cut_runs([Run(0, K)], channels(tiling)), 1, columns),
                   Sweep(py, px, cut_runs([Run(0, M)], channels(backtiling)), 1, columns),
                   tiling, backtiling, Tiling(M, V -> tile_weights(V, K, cpu), cpu))
end

multiply!(σ::S, o::Product, y, A, x, n; bias = Ptr32(C_NULL), adds = false) where {S} =
    sweep!(σ, o.tiling, o.ahead, o.M, y, 0, x, 0, n, A, bias, adds)

"The workspace of `multiply_back!`: a block of `A`, transposed."
scratch(o::Product) = channels(o.backtiling) * o.M

function multiply_back!(o::Product, dx, A, dy, n, block)
    wide = channels(o.backtiling)
    for from in 0:wide:o.K-1
        C = min(wide, o.K - from)
        transpose!(block, C, at(A, from * o.M), o.M, C, o.M)
        sweep!(identity, o.backtiling, o.back, C, at(dx, from), 0, dy, 0, n, block, Ptr32(C_NULL), false)
    end
end

outer!(o::Product, dA, dy, x, n; adds = false) =
    outer_sweep!(o.gradtiling, (Run(0, o.K),), dA, o.M, dy, 0, x, 0, pointer(o.ahead.pin), pointer(o.ahead.pout), n, 1, adds)

# Low rank: each matrix of an update as the product of two thin matrices.

"""
    PowerSGD(rank = 2; iterations = 2, feedback = true)

Send each array of the update, seen as a matrix M, as P and Q with M ≈ P·Qᵀ. Both have
`rank` columns and are found by `iterations` steps of subspace iteration (Vogels et al.
2019, arXiv:1905.13727, Algorithm 1; they start from the last round's Q, `PowerSGD` starts
anew, so that it keeps no state). Vectors, and matrices that would not shrink, are sent as
they are.

Dense weights are (out, in), convolution kernels (out, rest). The matrix is made of the
memory as the engine orders it. The fast engine's order gives the matrices above. Another
order gives a matrix of the same values, whose approximation is as valid but may be worse.

```julia
Federated(case_study_cnn(); rules = (PowerSGD(2),))
```
"""
struct PowerSGD <: Compressor
    rank::Int
    iterations::Int
    feedback::Bool
    function PowerSGD(rank = 2; iterations = 2, feedback = true)
        rank >= 1 || fail("rank of powersgd is ", rank, "; expected at least 1")
        iterations >= 1 ||
            fail("iterations of powersgd is ", iterations, "; expected at least 1")
        return new(rank, iterations, feedback)
    end
end

construct(::Val{:rule}, ::Val{:powersgd}; rank, iterations, feedback) =
    PowerSGD(rank; iterations, feedback)
feedback(c::PowerSGD) = c.feedback
positional(::PowerSGD) = true

"""
    matrix_shape(c, dims) -> (rows, cols, rank)

The size of the matrix that an array of size `dims` is seen as, and the rank that is sent.
Rank 0 means that the array is sent as it is.
"""
function matrix_shape(c::PowerSGD, dims)
    rows = length(dims) == 4 ? dims[4] : length(dims) < 2 ? 1 : dims[1]
    cols = rows == 0 ? 0 : prod(dims) ÷ rows
    return rows, cols, c.rank * (rows + cols) < rows * cols ? c.rank : 0
end

function encode(c::PowerSGD, v, rng, layout)
    w = Writer()
    for slot in layout.slots
        rows, cols, rank = matrix_shape(c, slot.dims)
        if rank == 0
            writefloats!(w, view(v, slot.range))
        else
            P, Q = low_rank(reshape(v[slot.range], rows, cols), rank, c.iterations, rng)
            writefloats!(w, P)
            writefloats!(w, Q)
        end
    end
    return take_bytes!(w)
end

function decode(c::PowerSGD, bytes, n, layout)
    layout.n == n || fail("the layout has ", layout.n, " values, and the update has ", n)
    r = Reader(bytes)
    v = Vector{Float32}(undef, n)
    for slot in layout.slots
        rows, cols, rank = matrix_shape(c, slot.dims)
        if rank == 0
            v[slot.range] = readfloats!(r, length(slot.range), slot.name)
        else
            P = reshape(readfloats!(r, rows * rank, slot.name), rows, rank)
            Q = reshape(readfloats!(r, cols * rank, slot.name), cols, rank)
            v[slot.range] = vec(P * Q')
        end
    end
    check_all_read(r)
    return v
end

"Orthonormal P and Q with M ≈ P·Qᵀ, by subspace iteration from a random start."
function low_rank(M, rank, iterations, rng)
    Q = Float32[rand(rng, Float32) - 0.5f0 for _ in axes(M, 2), _ = 1:rank]
    P = M * Q
    for i = 1:iterations
        orthonormalize!(P)
        Q = M'P
        i < iterations && (P = M * Q)
    end
    return P, Q
end

"Gram-Schmidt, column by column. A column that depends on earlier ones becomes zero."
function orthonormalize!(P)
    for j in axes(P, 2)
        p = view(P, :, j)
        before = norm(p)
        for i = 1:(j-1)
            q = view(P, :, i)
            axpy!(-dot(q, p), q, p)
        end
        after = norm(p)
        after > 1.0f-6 * before ? rmul!(p, 1 / after) : fill!(p, 0)
    end
    return P
end

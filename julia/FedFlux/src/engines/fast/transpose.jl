# Transposes in registers: weights are transposed in every step, so that a layer's gradient has its inputs on the lanes.

"`to` (m × n, columns first, `ldto` apart) from `from` (n × m, `ldfrom` apart)."
function transpose!(to::Ptr32, ldto, from::Ptr32, ldfrom, m, n)
    L = 16
    min(m, n) < L && return transpose_small!(to, ldto, from, ldfrom, m, n)
    for i0 in 0:L:m-1, j0 in 0:L:n-1
        i, j = min(i0, m - L), min(j0, n - L)      # the last block overlaps the one before it
        transpose_block!(Val(L), at(to, i + j * ldto), ldto, at(from, j + i * ldfrom), ldfrom)
    end
end

function transpose_small!(to, ldto, from, ldfrom, m, n)
    for j in 0:n-1, i in 0:m-1
        unsafe_store!(to, unsafe_load(from, 1 + j + i * ldfrom), 1 + i + j * ldto)
    end
end

"Lanes `from`, `from + L`, `from + 1`, …: of the two vectors in turn."
interleaved(from, L) = ntuple(k -> from + (k - 1) ÷ 2 + (iseven(k) ? L : 0), L)

# A block of L vectors, L a power of two: log2(L) rounds, each of which shuffles vector i with vector i + L/2, as one
# shuffles the halves of a deck of cards. After them, element (i, j) has moved to (j, i).
@generated function transpose_block!(::Val{L}, to::Ptr32, ldto, from::Ptr32, ldfrom) where {L}
    low, high = interleaved(0, L), interleaved(L ÷ 2, L)
    code = [:($(Symbol(:v0_, i)) = vload(Vec{L,Float32}, at(from, $i * ldfrom))) for i in 0:L-1]
    rounds = trailing_zeros(L)
    for r in 1:rounds, i in 0:L÷2-1
        a, b = Symbol(:v, r - 1, :_, i), Symbol(:v, r - 1, :_, i + L ÷ 2)
        push!(code, :($(Symbol(:v, r, :_, 2i)) = shufflevector($a, $b, Val($low))))
        push!(code, :($(Symbol(:v, r, :_, 2i + 1)) = shufflevector($a, $b, Val($high))))
    end
    append!(code, [:(vstore($(Symbol(:v, rounds, :_, i)), at(to, $i * ldto))) for i in 0:L-1])
    return quote
        $(code...)
        return nothing
    end
end

# Transposes in registers. Every step packs transposed weights, so that the gradient of a
# layer's input has the input channels on the lanes.

"""
    transpose!(to, ldto, from, ldfrom, m, n)

Write the transpose of `from` (n × m) to `to` (m × n). Both are column-major, with columns
`ldfrom` and `ldto` floats apart.
"""
function transpose!(to::Ptr32, ldto, from::Ptr32, ldfrom, m, n)
    L = 16
    min(m, n) < L && return transpose_small!(to, ldto, from, ldfrom, m, n)
    for i0 = 0:L:(m-1), j0 = 0:L:(n-1)
        # The last block overlaps the one before it.
        i, j = min(i0, m - L), min(j0, n - L)
        target, source = at(to, i + j * ldto), at(from, j + i * ldfrom)
        transpose_block!(Val(L), target, ldto, source, ldfrom)
    end
end

function transpose_small!(to, ldto, from, ldfrom, m, n)
    for j = 0:(n-1), i = 0:(m-1)
        unsafe_store!(to, unsafe_load(from, 1 + j + i * ldfrom), 1 + i + j * ldto)
    end
end

"The lanes `from`, `from + L`, `from + 1`, …: of two vectors of L lanes in turn."
interleaved(from, L) = ntuple(k -> from + (k - 1) ÷ 2 + (iseven(k) ? L : 0), L)

# A block of L vectors, L a power of two: log2(L) rounds, each of which interleaves vector i
# with vector i + L/2, a perfect shuffle. After them, element (i, j) has moved to (j, i).
@generated function transpose_block!(
    ::Val{L}, to::Ptr32, ldto, from::Ptr32, ldfrom
) where {L}
    low, high = interleaved(0, L), interleaved(L ÷ 2, L)
    v(r, i) = Symbol(:v, r, :_, i)
    code = [:($(v(0, i)) = vload(Vec{L,Float32}, at(from, $i * ldfrom))) for i = 0:(L-1)]
    rounds = trailing_zeros(L)
    for r = 1:rounds, i = 0:(L÷2-1)
        a, b = v(r - 1, i), v(r - 1, i + L ÷ 2)
        push!(code, :($(v(r, 2i)) = shufflevector($a, $b, Val($low))))
        push!(code, :($(v(r, 2i + 1)) = shufflevector($a, $b, Val($high))))
    end
    append!(code, [:(vstore($(v(rounds, i)), at(to, $i * ldto))) for i = 0:(L-1)])
    return quote
        $(code...)
        return nothing
    end
end

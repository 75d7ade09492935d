# A sorted list of distinct indices in 1:n, as bytes: the gaps between them, or a bitmap of
# 1:n, whichever is smaller.

const GAPS, BITMAP = 0x00, 0x01

"""
Write the ascending `indices` in 1:n: their number, a byte for the format, and the gaps as
varints or a bitmap.
"""
function writeindices!(w::Writer, indices, n)
    writevarint!(w, length(indices))
    if gapsize(indices) <= cld(n, 8)
        writebyte!(w, GAPS)
        last = 0
        for i in indices
            writevarint!(w, i - last - 1)
            last = i
        end
    else
        writebyte!(w, BITMAP)
        at = length(w.bytes)
        append!(w.bytes, Iterators.repeated(0x00, cld(n, 8)))
        for i in indices
            w.bytes[at+(i-1)>>3+1] |= 0x01 << ((i - 1) & 7)
        end
    end
end

function gapsize(indices)
    total, last = 0, 0
    for i in indices
        total += varintsize(i - last - 1)
        last = i
    end
    return total
end

"""
Read what `writeindices!` wrote: distinct ascending indices in 1:n. If `expected` is given,
their number must be equal to it.
"""
function readindices!(r::Reader, n, expected = nothing)
    k = readvarint!(r, n, "the number of indices")
    expected === nothing || k == expected ||
        malformed("expected ", expected, " indices, got ", k)
    how = readbyte!(r, "the format of the indices")
    how == GAPS && return readgaps!(r, n, k)
    how == BITMAP && return readbitmap!(r, n, k)
    malformed("indices of format ", how, "; expected 0 or 1")
end

function readgaps!(r::Reader, n, k)
    require_bytes(r, k, "the indices")      # before memory is allocated for them
    indices = Vector{Int}(undef, k)
    last = 0
    for j = 1:k
        last += readvarint!(r, n, "a gap") + 1
        last <= n || malformed("index ", last, " of ", n, " values")
        indices[j] = last
    end
    return indices
end

function readbitmap!(r::Reader, n, k)
    require_bytes(r, cld(n, 8), "the bitmap")
    from = r.at
    r.at += cld(n, 8)
    found = sum(b -> count_ones(r.bytes[b]), (from+1):r.at; init = 0)
    found == k || malformed("expected a bitmap of ", k, " indices, got ", found)
    indices = Vector{Int}(undef, k)
    j = 0
    for b = (from+1):r.at
        byte = r.bytes[b]
        while byte != 0
            i = 8 * (b - from - 1) + trailing_zeros(byte) + 1
            i <= n || malformed("index ", i, " of ", n, " values")
            indices[j+=1] = i
            byte &= byte - 0x01
        end
    end
    return indices
end

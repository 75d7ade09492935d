# Bytes out and in: little-endian floats, varints, and packed bits. What is read comes from outside and is trusted in nothing.

"Encoded bytes under construction: whole bytes first, then bits, from the lowest of each byte on."
mutable struct Writer
    bytes::Vector{UInt8}
    pending::UInt64       # bits that don't fill a byte yet
    npending::Int
end
Writer(sizehint = 0) = Writer(sizehint!(UInt8[], sizehint), 0, 0)

writebyte!(w::Writer, b) = push!(w.bytes, b % UInt8)

function writefloats!(w::Writer, values)
    at = length(w.bytes)
    resize!(w.bytes, at + 4 * length(values))
    for x in values
        writeword!(w.bytes, at, reinterpret(UInt32, Float32(x)))
        at += 4
    end
end

@inline function writeword!(bytes, at, word)
    for k in 1:sizeof(word)
        @inbounds bytes[at+k] = (word >> 8(k - 1)) % UInt8
    end
end

"LEB128: seven bits a byte, the lowest first; the top bit says that more follow."
function writevarint!(w::Writer, x::Integer)
    x = UInt64(x)
    while x > 0x7f
        writebyte!(w, x % UInt8 | 0x80)
        x >>= 7
    end
    writebyte!(w, x)
end

varintsize(x::Integer) = max(1, cld(8 * sizeof(x) - leading_zeros(x), 7))

"The lowest `n` ≤ 56 bits of `x`, which has no others."
@inline function writebits!(w::Writer, x::UInt64, n)
    w.pending |= x << w.npending
    w.npending += n
    while w.npending >= 8
        push!(w.bytes, w.pending % UInt8)
        w.pending >>= 8
        w.npending -= 8
    end
end

"The bytes written; the last one's free bits are zero."
function finish(w::Writer)
    w.npending > 0 && writebyte!(w, w.pending)
    return w.bytes
end

"Encoded bytes being read. Every read checks that there is as much left."
mutable struct Reader
    bytes::Vector{UInt8}
    at::Int               # bytes taken
    pending::UInt64
    npending::Int
end
Reader(bytes::Vector{UInt8}) = Reader(bytes, 0, 0, 0)

malformed(parts...) = fail("malformed encoded update: ", parts...)

left(r::Reader) = length(r.bytes) - r.at
need(r::Reader, n, what) = left(r) >= n || malformed(what, " should take ", n, " bytes, and ", left(r), " are left of ", length(r.bytes))

function readbyte!(r::Reader, what)
    need(r, 1, what)
    r.at += 1
    return @inbounds r.bytes[r.at]
end

function readfloats!(r::Reader, n, what)
    need(r, 4n, what)
    values = Vector{Float32}(undef, n)
    for i in 1:n
        values[i] = reinterpret(Float32, readword(UInt32, r.bytes, r.at))
        r.at += 4
    end
    return values
end

@inline function readword(::Type{T}, bytes, at) where {T}
    word = zero(T)
    for k in 1:sizeof(T)
        @inbounds word |= T(bytes[at+k]) << 8(k - 1)
    end
    return word
end

"A varint that is at most `limit`."
function readvarint!(r::Reader, limit, what)
    x, shift = zero(UInt64), 0
    while true
        b = readbyte!(r, what)
        x |= UInt64(b & 0x7f) << shift
        x <= limit || malformed(what, " is over ", limit)
        b < 0x80 && return Int(x)
        (shift += 7) <= 28 || malformed(what, " is over ", limit)
    end
end

"The next `n` ≤ 56 bits."
@inline function readbits!(r::Reader, n, what)
    while r.npending < n
        r.pending |= UInt64(readbyte!(r, what)) << r.npending
        r.npending += 8
    end
    x = r.pending & ((one(UInt64) << n) - 1)
    r.pending >>= n
    r.npending -= n
    return x
end

"Check that everything was read: true, or an error."
function finish(r::Reader)
    left(r) == 0 || malformed(left(r), " bytes too many")
    r.pending == 0 || malformed("its last bits should be zero")
end

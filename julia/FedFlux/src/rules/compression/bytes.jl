# Reading and writing bytes: little-endian floats, varints, and packed bits. Bytes that are
# read come from outside, so every read is checked.

"Encoded bytes under construction. Bits fill each byte from its lowest bit on."
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
    for k = 1:sizeof(word)
        @inbounds bytes[at+k] = (word >> 8(k - 1)) % UInt8
    end
end

"LEB128: seven bits per byte, the lowest first; the top bit says that more bytes follow."
function writevarint!(w::Writer, x::Integer)
    x = UInt64(x)
    while x > 0x7f
        writebyte!(w, x % UInt8 | 0x80)
        x >>= 7
    end
    writebyte!(w, x)
end

varintsize(x::Integer) = max(1, cld(8 * sizeof(x) - leading_zeros(x), 7))

"Write the lowest `n` ≤ 56 bits of `x`; all higher bits of `x` must be zero."
@inline function writebits!(w::Writer, x::UInt64, n)
    w.pending |= x << w.npending
    w.npending += n
    while w.npending >= 8
        push!(w.bytes, w.pending % UInt8)
        w.pending >>= 8
        w.npending -= 8
    end
end

"The bytes written so far. Unused bits of the last byte are zero."
function take_bytes!(w::Writer)
    w.npending > 0 && writebyte!(w, w.pending)
    return w.bytes
end

"Encoded bytes being read. Every read checks that enough bytes are left."
mutable struct Reader
    bytes::Vector{UInt8}
    at::Int               # number of bytes read
    pending::UInt64
    npending::Int
end
Reader(bytes::Vector{UInt8}) = Reader(bytes, 0, 0, 0)

malformed(parts...) = fail("malformed encoded update: ", parts...)

left(r::Reader) = length(r.bytes) - r.at

function require_bytes(r::Reader, n, what)
    left(r) >= n ||
        malformed(what, " should take ", n, " bytes, but only ", left(r), " of ",
            length(r.bytes), " are left")
end

function readbyte!(r::Reader, what)
    require_bytes(r, 1, what)
    r.at += 1
    return @inbounds r.bytes[r.at]
end

function readfloats!(r::Reader, n, what)
    require_bytes(r, 4n, what)
    values = Vector{Float32}(undef, n)
    for i = 1:n
        values[i] = reinterpret(Float32, readword(UInt32, r.bytes, r.at))
        r.at += 4
    end
    return values
end

@inline function readword(::Type{T}, bytes, at) where {T}
    word = zero(T)
    for k = 1:sizeof(T)
        @inbounds word |= T(bytes[at+k]) << 8(k - 1)
    end
    return word
end

"Read a varint that is at most `limit`."
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

"Read the next `n` ≤ 56 bits."
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

"Check that all bytes were read: `true`, or an error."
function check_all_read(r::Reader)
    left(r) == 0 || malformed(left(r), " bytes too many")
    r.pending == 0 || malformed("its last bits should be zero")
end

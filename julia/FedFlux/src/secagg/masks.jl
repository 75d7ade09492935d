# Masks: the ChaCha20 stream of a key, as integers of the ring, added or subtracted.

"The rings: the integers mod 2^32 and mod 2^64, which wrap around as Julia's do."
const Ring = Union{UInt32,UInt64}

const MASK_BLOCK = 16384        # bytes at a time: they stay in the first cache

"""
    add_mask!(y::Vector{<:Ring}, key) -> y
    subtract_mask!(y, key) -> y

Add to `y`, or subtract, the integers that the ChaCha20 stream of the 32-byte `key` holds,
little-endian, in the ring. Allocates one block, for any length.
"""
add_mask!(y::Vector{<:Ring}, key) = apply_mask!(+, y, key)
subtract_mask!(y::Vector{<:Ring}, key) = apply_mask!(-, y, key)

function apply_mask!(op, y::Vector{T}, key) where {T<:Ring}
    check_size("a key", key, KEY_BYTES)
    stream = Vector{UInt8}(undef, MASK_BLOCK)
    values, n = reinterpret(T, stream), MASK_BLOCK ÷ sizeof(T)
    for (block, first) in enumerate(1:n:length(y))
        fill!(stream, 0x00)
        chacha20_xor!(stream, key, (block - 1) * (MASK_BLOCK ÷ 64))
        last = min(first + n - 1, length(y))
        add_stream!(op, y, values, first, last)
    end
    fill!(stream, 0x00)
    return y
end

function add_stream!(op, y, values, first, last)
    @inbounds @simd for i = first:last
        y[i] = op(y[i], ltoh(values[i-first+1]))
    end
end

"Add the mask that clients `a` and `b` share, with the sign that it has at `a`."
add_pair_mask!(y, key, a, b) = a < b ? add_mask!(y, key) : subtract_mask!(y, key)

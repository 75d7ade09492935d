# Random numbers that nobody can foresee, for secrets and for the noise that privacy rests
# on. The cipher and the key are libsodium's; here is only the buffer.

"`n` random bytes of the operating system."
function random_bytes(n)
    # Idempotent. It also picks the fastest code that this processor runs.
    @ccall(libsodium.sodium_init()::Cint) >= 0 || fail("libsodium can't be initialized")
    bytes = Vector{UInt8}(undef, n)
    @ccall libsodium.randombytes_buf(bytes::Ptr{UInt8}, n::Csize_t)::Cvoid
    return bytes
end

const KEY_WORDS = 4         # 256 bits
const KEYSTREAM_WORDS = 1024

"""
    SecureRandom()

A cryptographically secure random number generator: the keystream of ChaCha20 (RFC 8439)
under a key from the system's generator. The first 32 bytes of every 8 KiB become the next
key and are never given out, so what was drawn can't be found from the memory afterwards
("fast key erasure", Bernstein 2017). No seed gives its numbers again.

One generator serves one task at a time.

```julia
rand(SecureRandom(), Float64)
```
"""
mutable struct SecureRandom <: WordRNG
    key::Vector{UInt64}
    words::Vector{UInt64}     # the keystream that is left, from `next` on
    next::Int
end

SecureRandom() = keyed_random(collect(reinterpret(UInt64, random_bytes(8 * KEY_WORDS))))

"The generator under a key, which the tests choose."
keyed_random(key) =
    SecureRandom(key, Vector{UInt64}(undef, KEYSTREAM_WORDS), KEYSTREAM_WORDS + 1)

function refill!(r::SecureRandom)
    # A key is used for one keystream only, so the nonce may be the same for all.
    nonce = Ref((0x00000000, 0x00000000, 0x00000000))
    status = @ccall libsodium.crypto_stream_chacha20_ietf(r.words::Ptr{UInt64},
        sizeof(r.words)::Culonglong, nonce::Ptr{UInt32}, r.key::Ptr{UInt64})::Cint
    status == 0 || fail("libsodium's ChaCha20 failed with status ", status)
    copyto!(r.key, 1, r.words, 1, KEY_WORDS)
    fill!(view(r.words, 1:KEY_WORDS), 0)
    r.next = KEY_WORDS + 1
    return nothing
end

@inline function next!(r::SecureRandom)
    r.next > KEYSTREAM_WORDS && refill!(r)
    word = @inbounds r.words[r.next]
    r.next += 1
    return word
end

Base.show(io::IO, ::SecureRandom) = print(io, "SecureRandom()")     # never the key

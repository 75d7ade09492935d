# Cryptography, all of it libsodium's: X25519, HMAC-SHA-256, ChaCha20, ChaCha20-Poly1305.

const KEY_BYTES = 32
const TAG_BYTES = 16        # what ChaCha20-Poly1305 adds to a text

"A fresh X25519 key pair (RFC 7748), or that of a `secret`."
struct KeyPair
    public::Vector{UInt8}
    secret::Vector{UInt8}
end
KeyPair(secret = random_bytes(KEY_BYTES)) = KeyPair(public_key(secret), secret)

function public_key(secret)
    check_size("a secret key", secret, KEY_BYTES)
    public = similar(secret)
    @ccall libsodium.crypto_scalarmult_base(
        public::Ptr{UInt8}, secret::Ptr{UInt8})::Cint
    return public
end

"X25519(secret, public). A public key of low order, whose secret would be 0, is an error."
function shared_secret(secret, public)
    check_size("a secret key", secret, KEY_BYTES)
    check_size("a public key", public, KEY_BYTES)
    shared = similar(secret)
    code = @ccall libsodium.crypto_scalarmult(
        shared::Ptr{UInt8}, secret::Ptr{UInt8}, public::Ptr{UInt8})::Cint
    code == 0 || refuse("a public key is of low order; whoever sent it ",
        "does not follow the protocol")
    return shared
end

"HMAC-SHA-256 (RFC 2104) of the `parts`, one after the other."
function hmac_sha256(key, parts...)
    state = zeros(UInt8, @ccall libsodium.crypto_auth_hmacsha256_statebytes()::Csize_t)
    @ccall libsodium.crypto_auth_hmacsha256_init(
        state::Ptr{UInt8}, key::Ptr{UInt8}, length(key)::Csize_t)::Cint
    for part in parts
        @ccall libsodium.crypto_auth_hmacsha256_update(
            state::Ptr{UInt8}, part::Ptr{UInt8}, length(part)::Culonglong)::Cint
    end
    mac = Vector{UInt8}(undef, 32)
    @ccall libsodium.crypto_auth_hmacsha256_final(
        state::Ptr{UInt8}, mac::Ptr{UInt8})::Cint
    fill!(state, 0x00)
    return mac
end

"`n` bytes of HKDF-SHA-256 (RFC 5869) from a `secret`, for the purpose that `info` names."
function hkdf_sha256(secret, salt, info, n = KEY_BYTES)
    0 <= n <= 255 * 32 || fail("HKDF gives at most 8160 bytes; ", n, " were asked for")
    key = hmac_sha256(salt, secret)
    out, block = UInt8[], UInt8[]
    for i = 1:cld(n, 32)
        block = hmac_sha256(key, block, info, [UInt8(i)])
        append!(out, block)
    end
    return resize!(out, n)
end

# Every key seals one text, so the nonce may be the same.
const NONCE = zeros(UInt8, 12)

"Encrypt and authenticate `text`, and authenticate `header` (RFC 8439, section 2.8)."
function seal(key, text, header; nonce = NONCE)
    check_size("a key", key, KEY_BYTES)
    sealed = Vector{UInt8}(undef, length(text) + TAG_BYTES)
    @ccall libsodium.crypto_aead_chacha20poly1305_ietf_encrypt(
        sealed::Ptr{UInt8}, C_NULL::Ptr{Culonglong}, text::Ptr{UInt8},
        length(text)::Culonglong, header::Ptr{UInt8}, length(header)::Culonglong,
        C_NULL::Ptr{UInt8}, nonce::Ptr{UInt8}, key::Ptr{UInt8})::Cint
    return sealed
end

"The text that was sealed, or `nothing` if the key, the header or a byte is another."
function unseal(key, sealed, header; nonce = NONCE)
    check_size("a key", key, KEY_BYTES)
    length(sealed) >= TAG_BYTES || return nothing
    text = Vector{UInt8}(undef, length(sealed) - TAG_BYTES)
    code = @ccall libsodium.crypto_aead_chacha20poly1305_ietf_decrypt(
        text::Ptr{UInt8}, C_NULL::Ptr{Culonglong}, C_NULL::Ptr{UInt8},
        sealed::Ptr{UInt8}, length(sealed)::Culonglong, header::Ptr{UInt8},
        length(header)::Culonglong, nonce::Ptr{UInt8}, key::Ptr{UInt8})::Cint
    return code == 0 ? text : nothing
end

"XOR `bytes` with the ChaCha20 stream of `key` (RFC 8439) from its block `block` on."
function chacha20_xor!(bytes::Vector{UInt8}, key, block; nonce = NONCE)
    @ccall libsodium.crypto_stream_chacha20_ietf_xor_ic(
        bytes::Ptr{UInt8}, bytes::Ptr{UInt8}, length(bytes)::Culonglong,
        nonce::Ptr{UInt8}, block::UInt32, key::Ptr{UInt8})::Cint
    return bytes
end

refuse(parts...) = fail("secure aggregation: ", parts...)

check_size(what, bytes, n) =
    length(bytes) == n ||
    refuse("", what, " has ", length(bytes), " bytes; expected ", n)

# The keys of a round, each for one purpose, that parties derive from what they share.

const DOMAIN = Vector{UInt8}("fedflux secure aggregation 1")

"What a derived key is for: a purpose, the round and the numbers of clients."
function domain(purpose, round, clients...)
    numbers = htol.(UInt32[round, clients...])
    return [codeunits(purpose); 0x00; reinterpret(UInt8, numbers)]
end

derive_key(secret, purpose, round, clients...) =
    hkdf_sha256(secret, DOMAIN, domain(purpose, round, clients...))

"The key that masks between two clients come from; the same for both."
mask_key(secret, public, round, a, b) =
    derive_key(shared_secret(secret, public), "mask", round, minmax(a, b)...)

# The seed gives two independent keys: one masks, the other may be shown beforehand.
seed_key(seed, round, client) = derive_key(seed, "self", round, client)
commitment(seed, round, client) = derive_key(seed, "commitment", round, client)

# The messages of secure aggregation, in the order of a round: plain data. Clients have
# positive numbers, the same for all parties.

"""
    SecureSetup{T}(; round, words, neighbours = nothing, threshold = 0.6, fewest = 3)

What all parties of a round know before it.

- `T`: the ring, `UInt32` or `UInt64`.  `words`: the number of integers that are summed.
- `round`: the number of the round; messages of another are refused.
- `neighbours`: with how many others a client shares masks, an even number; `nothing`: with
  all.
- `threshold`: this share of a client's neighbors must answer to the end.
- `fewest`: the smallest number of vectors whose sum is shown, 3 or more.

Throws a [`FedFluxError`](@ref) for values out of range.

```julia
SecureSetup{UInt32}(; round = 1, words = 50_000, neighbours = 10)
```
"""
struct SecureSetup{T<:Ring}
    round::UInt32
    words::Int
    neighbours::Union{Nothing,Int}
    threshold::Float64
    fewest::Int
end

function SecureSetup{T}(; round, words, neighbours = nothing,
    threshold = 0.6, fewest = 3) where {T<:Ring}
    words >= 0 || fail("SecureSetup: words is ", words, "; expected 0 or more")
    fewest >= 3 || fail("SecureSetup: fewest is ", fewest, "; expected 3 or more")
    check_graph(neighbours, threshold)
    return SecureSetup{T}(round, words, neighbours, threshold, fewest)
end

function check_graph(neighbours, threshold)
    neighbours === nothing || neighbours >= 2 && iseven(neighbours) ||
        refuse("neighbours is ", neighbours,
            "; expected an even number from 2 on, or none for all others")
    0 < threshold <= 1 || refuse("threshold is ", threshold,
        "; expected a fraction of the neighbors, more than 0 and at most 1")
end

"How many of `n` shares give a secret back; at least 2 if there are as many."
shares_needed(s::SecureSetup, n) = clamp(ceil(Int, s.threshold * n - 1e-9), min(2, n), n)

"Client → server, stage 1: the public keys for shares and for masks."
struct PublicKeys
    round::UInt32
    client::UInt32
    sealing::Vector{UInt8}
    masking::Vector{UInt8}
end

"Server → client: the public keys of its neighbors."
struct NeighborKeys
    round::UInt32
    keys::Vector{PublicKeys}
end

"A share of a seed and one of a mask key, sealed for one neighbor."
struct SealedShares
    from::UInt32
    to::UInt32
    sealed::Vector{UInt8}
end

"Client → server, stage 2: shares for each neighbor, and a commitment to the seed."
struct ShareBundle
    round::UInt32
    client::UInt32
    commitment::Vector{UInt8}
    shares::Vector{SealedShares}
end

"Server → client: the shares that its neighbors made for it."
struct ReceivedShares
    round::UInt32
    shares::Vector{SealedShares}
end

"The key of the mask that a client shares with another `client`."
struct PairKey
    client::UInt32
    key::Vector{UInt8}
end

"""
Client → server, stage 3: its vector under all masks but those that it shares with clients
whose shares it couldn't open; these have added the mask, so its key comes along.
"""
struct MaskedVector{T<:Ring}
    round::UInt32
    client::UInt32
    values::Vector{T}
    unopened::Vector{PairKey}
end
MaskedVector(round, client, values::Vector{T}) where {T<:Ring} =
    MaskedVector{T}(round, client, values, PairKey[])

"""
Server → client: which neighbors' seeds, and which ones' mask keys, it asks shares of; and
which ones it has left out, whose shares too few can open: it asks for the masks with these.
"""
struct UnmaskRequest
    round::UInt32
    arrived::Vector{UInt32}
    vanished::Vector{UInt32}
    excluded::Vector{UInt32}
end
UnmaskRequest(round, arrived, vanished) = UnmaskRequest(round, arrived, vanished, UInt32[])

"Client → server, stage 4: the shares, and keys of masks, in the order of the request."
struct UnmaskShares
    round::UInt32
    client::UInt32
    seeds::Vector{Share}
    keys::Vector{Share}
    pairs::Vector{Vector{UInt8}}
end
UnmaskShares(round, client, seeds, keys) =
    UnmaskShares(round, client, seeds, keys, Vector{UInt8}[])

"The bytes of a message's integers and vectors, without a transport's framing."
message_bytes(x::Union{Integer,Share}) = sizeof(x)
message_bytes(v::Vector{<:Union{Integer,Share}}) = sizeof(v)
message_bytes(v::Vector) = sum(message_bytes, v; init = 0)
message_bytes(m) = sum(i -> message_bytes(getfield(m, i)), 1:nfields(m))

function check_round(s::SecureSetup, m)
    m.round == s.round || refuse("a ", nameof(typeof(m)), " of round ",
        m.round, " came in round ", s.round)
end

check_distinct(what, ids) =
    allunique(ids) || refuse(what, " names a client twice")

check_share(share) =
    all(<(FIELD), share) ||
    refuse("a share is no element of the field")

check_sealed(s::SealedShares) =
    check_size("a pair of sealed shares", s.sealed, 2 * sizeof(Share) + TAG_BYTES)

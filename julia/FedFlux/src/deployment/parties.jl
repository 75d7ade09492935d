# The messages of secure aggregation as bytes: their integers and vectors one after the
# other, little-endian, as many bytes as `message_bytes` says.

write_message!(w::Writer, x::Unsigned) = writeword!(w, x)
write_message!(w::Writer, share::Share) = foreach(x -> writeword!(w, x), share)
write_message!(w::Writer, v::Vector{UInt8}) = append!(w.bytes, v)
write_message!(w::Writer, v::Vector) = foreach(x -> write_message!(w, x), v)
write_message!(w::Writer, m) =
    foreach(i -> write_message!(w, getfield(m, i)), 1:nfields(m))

# Three lists, two of them with their lengths: eight bytes that are not counted.
function write_message!(w::Writer, m::UnmaskRequest)
    foreach(list -> writeword!(w, UInt32(length(list))), (m.arrived, m.vanished))
    foreach(v -> write_message!(w, v), (m.round, m.arrived, m.vanished, m.excluded))
end

word!(r::Reader) = take_word!(r, UInt32, "a number")
share!(r::Reader) = ntuple(_ -> take_word!(r, UInt64, "a share"), LIMBS)

"What `take` reads, again and again until all bytes are read."
function take_rest!(take, r::Reader)
    found = [take(r)]
    while left(r) > 0
        push!(found, take(r))
    end
    return found
end

read_message!(r::Reader, ::Type{PublicKeys}) = PublicKeys(word!(r), word!(r),
    take_bytes!(r, KEY_BYTES, "a key"), take_bytes!(r, KEY_BYTES, "a key"))
read_message!(r::Reader, ::Type{SealedShares}) = SealedShares(word!(r), word!(r),
    take_bytes!(r, 2 * sizeof(Share) + TAG_BYTES, "sealed shares"))
read_message!(r::Reader, ::Type{NeighborKeys}) =
    NeighborKeys(word!(r), take_rest!(r -> read_message!(r, PublicKeys), r))
read_message!(r::Reader, ::Type{ShareBundle}) =
    ShareBundle(word!(r), word!(r), take_bytes!(r, KEY_BYTES, "a commitment"),
        take_rest!(r -> read_message!(r, SealedShares), r))
read_message!(r::Reader, ::Type{ReceivedShares}) =
    ReceivedShares(word!(r), take_rest!(r -> read_message!(r, SealedShares), r))

function read_message!(r::Reader, ::Type{MaskedVector{T}}, words) where {T}
    round, client = word!(r), word!(r)
    require_bytes(r, sizeof(T) * words, "a masked vector")
    values = T[take_word!(r, T, "a masked vector") for _ = 1:words]
    pair(r) = PairKey(word!(r), take_bytes!(r, KEY_BYTES, "the key of a mask"))
    return MaskedVector{T}(round, client, values,
        left(r) == 0 ? PairKey[] : take_rest!(pair, r))
end

function read_message!(r::Reader, ::Type{UnmaskRequest})
    arrived, vanished, round = Int(word!(r)), Int(word!(r)), word!(r)
    require_bytes(r, 4(arrived + vanished), "a request to unmask")
    take_list!(n) = UInt32[word!(r) for _ = 1:n]
    return UnmaskRequest(round, take_list!(arrived), take_list!(vanished),
        take_list!(left(r) ÷ 4))
end

read_message!(r::Reader, ::Type{UnmaskShares}, asked::UnmaskRequest) =
    UnmaskShares(word!(r), word!(r), Share[share!(r) for _ in asked.arrived],
        Share[share!(r) for _ in asked.vanished],
        [take_bytes!(r, KEY_BYTES, "the key of a mask") for _ in asked.excluded])

"""
    party_state(c::SecureClient, input) -> NamedTuple

A client between two stages, with the integers that it will mask, as values that can be
kept. They hold its secrets.
"""
party_state(c::SecureClient, input) =
    (; c.stage, input, c.setup.round, c.setup.neighbours, c.setup.threshold,
        c.setup.fewest, c.id,
        sealing = c.sealing.secret, masking = c.masking.secret, c.seed,
        known = keys_bytes(c), held_arrays(c)...)

# As two arrays: as values they would be half a kilobyte of JSON for each neighbor.
function held_arrays(c::SecureClient)
    ids = sort!(collect(keys(c.held)))
    shares = Matrix{UInt64}(undef, 2LIMBS, length(ids))
    for (i, id) in enumerate(ids)
        seed, key = c.held[id]
        shares[:, i] .= (seed..., key...)
    end
    return (; holders = ids, shares)
end

function keys_bytes(c::SecureClient)
    w = Writer()
    write_message!(w, [c.neighbors[id] for id in sort!(collect(keys(c.neighbors)))])
    return take_bytes!(w)
end

"The client that [`party_state`](@ref) told of."
function SecureClient(p::NamedTuple)
    T = eltype(p.input)
    setup = SecureSetup{T}(; p.round, words = length(p.input), p.neighbours, p.threshold,
        p.fewest)
    r = Reader(p.known)
    known =
        isempty(p.known) ? PublicKeys[] :
        take_rest!(r -> read_message!(r, PublicKeys), r)
    return SecureClient{T}(setup, p.id, p.stage, KeyPair(p.sealing), KeyPair(p.masking),
        p.seed, Dict(k.client => k for k in known),
        Dict{UInt32,Tuple{Share,Share}}(
            id => (Tuple(p.shares[1:LIMBS, i]), Tuple(p.shares[(LIMBS+1):end, i]))
            for (i, id) in enumerate(p.holders)))
end

"A round of secure aggregation on the server: its party, and the bytes of each stage."
mutable struct SecureExchange
    party::SecureServer
    asked::Dict{Int,Any}        # what each client was sent in this stage
    bytes_up::Vector{Int}
    bytes_down::Vector{Int}
    vanished::Vector{Tuple{Int,Int}}     # (client, stage)
    aborted::Union{Nothing,String}
end

# One client's side of secure aggregation. It holds its own secrets and what it was sent.

"""
    SecureClient(setup, id)

A client in one round of secure aggregation, with fresh keys. Its stages, each once and in
this order:

    advertise!(c) -> PublicKeys
    share!(c, ::NeighborKeys) -> ShareBundle
    mask!(c, ::ReceivedShares, x) -> MaskedVector
    unmask!(c, ::UnmaskRequest) -> UnmaskShares

Each throws a [`FedFluxError`](@ref) for a message that breaks the protocol: of another
round, of a wrong size, changed on its way, or out of turn.

Bonawitz et al. 2017 (CCS), Figure 4, without its signatures; Bell et al. 2020 (CCS), for
the neighbors. [`SecureServer`](@ref) has an example of a whole round.

```julia
SecureClient(SecureSetup{UInt32}(; round = 1, words = 2), 7)
```
"""
mutable struct SecureClient{T<:Ring}
    setup::SecureSetup{T}
    id::UInt32
    stage::Int                                  # the number of stages done
    sealing::KeyPair
    masking::KeyPair
    seed::Vector{UInt8}
    neighbors::Dict{UInt32,PublicKeys}
    held::Dict{UInt32,Tuple{Share,Share}}       # neighbor => shares of its seed and key
end

function SecureClient(setup::SecureSetup, id)
    id >= 1 || fail("SecureClient: id is ", id, "; expected a positive number")
    return SecureClient(setup, UInt32(id), 0, KeyPair(), KeyPair(),
        random_bytes(KEY_BYTES), Dict{UInt32,PublicKeys}(),
        Dict{UInt32,Tuple{Share,Share}}())
end

Base.show(io::IO, c::SecureClient) =      # no secret is ever printed
    print(io, "SecureClient(", Int(c.id), ", ", c.stage, " of 4 stages done)")

function begin_stage!(c::SecureClient, n)
    c.stage == n - 1 || refuse("client ", c.id, " has done ", c.stage,
        " of 4 stages, and stage ", n, " was asked for")
    c.stage = n
end

threshold(c::SecureClient) = shares_needed(c.setup, length(c.neighbors))

"Stage 1: the public keys."
function advertise!(c::SecureClient)
    begin_stage!(c, 1)
    return PublicKeys(c.setup.round, c.id, c.sealing.public, c.masking.public)
end

"Stage 2: shares of the seed and of the mask key, sealed for each neighbor."
function share!(c::SecureClient, m::NeighborKeys)
    check_round(c.setup, m)
    check_keys(c, m.keys)
    begin_stage!(c, 2)
    foreach(k -> c.neighbors[k.client] = k, m.keys)
    holders, t = [k.client for k in m.keys], threshold(c)
    seeds = share_secret(c.seed, t, holders)
    keys = share_secret(c.masking.secret, t, holders)
    sealed = map(holders, seeds, keys) do to, seed, key
        text = collect(reinterpret(UInt8, htol.([seed..., key...])))
        SealedShares(
            c.id,
            to,
            seal(sealing_key(c, to, c.id, to), text,
                domain("shares", c.setup.round, c.id, to))
        )
    end
    return ShareBundle(c.setup.round, c.id, commitment(c.seed, c.setup.round, c.id), sealed)
end

function check_keys(c, keys)
    check_distinct("the list of neighbors", [k.client for k in keys])
    limit = something(c.setup.neighbours, typemax(Int))
    2 <= length(keys) <= limit || refuse("client ", c.id, " was given ",
        length(keys), " neighbors; expected from 2 to ", limit)
    for k in keys
        check_round(c.setup, k)
        k.client >= 1 || refuse("client ", c.id, " was given a neighbor with the number 0")
        k.client == c.id && refuse("client ", c.id, " was given itself ",
            "as a neighbor")
        check_size("a public key", k.sealing, KEY_BYTES)
        check_size("a public key", k.masking, KEY_BYTES)
    end
end

# Each direction has a key of its own.
sealing_key(c, neighbor, from, to) =
    derive_key(shared_secret(c.sealing.secret, c.neighbors[neighbor].sealing), "shares",
        c.setup.round, from, to)

"""
Stage 3: the vector `x` under the mask of the seed and those shared with each neighbor. One
neighbor whose shares can't be opened stops nobody: the mask with it is left out, and the
server told.
"""
function mask!(c::SecureClient{T}, m::ReceivedShares, x::Vector{T}) where {T}
    (; round, words) = c.setup
    check_round(c.setup, m)
    length(x) == words || refuse("client ", c.id, " has ", length(x),
        " values; expected ", words)
    check_distinct("the list of shares", [s.from for s in m.shares])
    length(m.shares) >= threshold(c) || refuse("client ", c.id,
        " was given shares of ", length(m.shares), " neighbors; expected at least ",
        threshold(c))
    opened = Dict(s.from => open_shares(c, s) for s in m.shares)
    held = Dict{UInt32,Tuple{Share,Share}}(
        from => shares for (from, shares) in opened if shares !== nothing)
    length(held) >= threshold(c) || refuse("client ", c.id, " can open the shares of ",
        length(held), " neighbors; expected at least ", threshold(c))
    begin_stage!(c, 3)
    c.held = held
    y = add_mask!(copy(x), seed_key(c.seed, round, c.id))
    foreach(v -> add_pair_mask!(y, mask_key(c, v), c.id, v), sort!(collect(keys(held))))
    unopened = sort!(collect(setdiff(keys(opened), keys(held))))
    return MaskedVector{T}(round, c.id, y, [PairKey(v, mask_key(c, v)) for v in unopened])
end

"The key of the mask that this client shares with a neighbor."
mask_key(c::SecureClient, neighbor) = mask_key(c.masking.secret,
    c.neighbors[neighbor].masking, c.setup.round, c.id, neighbor)

"A neighbor's shares of its seed and its mask key, or `nothing` if it sealed none."
function open_shares(c, s::SealedShares)
    s.to == c.id && haskey(c.neighbors, s.from) || refuse("client ",
        c.id, " was given shares from ", s.from, " for ", s.to)
    check_sealed(s)
    text = unseal(sealing_key(c, s.from, s.from, c.id), s.sealed,
        domain("shares", c.setup.round, s.from, c.id))
    text === nothing && return nothing
    values = ltoh.(reinterpret(UInt64, text))
    all(<(FIELD), values) || return nothing
    return Tuple(values[1:LIMBS]), Tuple(values[(LIMBS+1):end])
end

"""
Stage 4: shares of the seeds of neighbors that sent their vector, of the mask keys of those
that vanished, and the masks shared with those that were left out. Never two of these for
one neighbor: together they would bare its vector. The client's secrets are erased.
"""
function unmask!(c::SecureClient, m::UnmaskRequest)
    check_round(c.setup, m)
    asked = [m.arrived; m.vanished; m.excluded]
    check_distinct("the request to unmask", asked)
    for id in asked
        haskey(c.held, id) ||
            refuse("client ", c.id, " holds no share of client ", id)
    end
    length(m.arrived) >= threshold(c) || refuse("client ", c.id,
        " is asked to unmask with ", length(m.arrived),
        " neighbors left; expected at ",
        "least ", threshold(c))
    # If all are neighbors, a client sees how many there are.
    (; neighbours, fewest) = c.setup
    neighbours !== nothing || length(m.arrived) + 1 >= fewest ||
        refuse("client ", c.id,
            " is asked to unmask a sum of ", length(m.arrived) + 1,
            " clients; expected at ",
            "least ", fewest)
    begin_stage!(c, 4)
    shares = UnmaskShares(c.setup.round, c.id, [c.held[id][1] for id in m.arrived],
        [c.held[id][2] for id in m.vanished], [mask_key(c, id) for id in m.excluded])
    erase!(c)
    return shares
end

function erase!(c::SecureClient)
    foreach(secret -> fill!(secret, 0x00), (c.sealing.secret, c.masking.secret, c.seed))
    empty!(c.held)
end

# The server's side of secure aggregation. It holds no secret until clients show shares.

"Why a round of secure aggregation can't go on; nothing was learned from it."
struct RoundAborted <: Exception
    reason::String
end
Base.showerror(io::IO, e::RoundAborted) = print(io, "RoundAborted: ", e.reason)

const STAGES = ("advertising keys", "sharing secrets", "sending the masked vector",
    "unmasking")

"""
    SecureServer(setup)

The server in one round of secure aggregation. In each of the four stages it takes messages
by `deliver!(s, m)`, in any order, until all have come or time is up. Then

    advertised!(s) -> Dict(client => NeighborKeys)
    shared!(s)     -> Dict(client => ReceivedShares)
    masked!(s)     -> Dict(client => UnmaskRequest)
    unmasked!(s)   -> the sum, a vector of the ring

end a stage. The sum is that of the clients in `s.arrived`. They throw
[`RoundAborted`](@ref) if too few clients are left. `deliver!` throws a
[`FedFluxError`](@ref) for a message that breaks the protocol, and goes on without it.

A client that seals shares which too few of its neighbors can open is left out, and wrong
shares in the last stage don't count if enough right ones came; `s.blamed` says who did
what.

```julia
using FedFlux: deliver!, advertise!, advertised!, share!, shared!, mask!, masked!, unmask!,
    unmasked!
setup = SecureSetup{UInt32}(; round = 1, words = 2)
server, clients = SecureServer(setup), [SecureClient(setup, id) for id in 1:5]
foreach(c -> deliver!(server, advertise!(c)), clients)
keys = advertised!(server)
foreach(c -> deliver!(server, share!(c, keys[c.id])), clients)
shares = shared!(server)
left = clients[1:4]                     # client 5 vanishes
foreach(c -> deliver!(server, mask!(c, shares[c.id], UInt32[c.id, 1])), left)
requests = masked!(server)
foreach(c -> deliver!(server, unmask!(c, requests[c.id])), left)
unmasked!(server)                       # UInt32[10, 4]
```
"""
mutable struct SecureServer{T<:Ring}
    setup::SecureSetup{T}
    probe::Vector{UInt8}                        # a secret key that is used for nothing else
    stage::Int                                  # the stage in progress
    public::Dict{UInt32,PublicKeys}
    neighbors::Dict{UInt32,Vector{UInt32}}
    bundles::Dict{UInt32,ShareBundle}
    arrived::Set{UInt32}                        # whose masked vector is in the sum
    vectors::Dict{UInt32,Vector{T}}             # until it is known who is left out
    unopened::Dict{UInt32,Dict{UInt32,Vector{UInt8}}}   # of whom => by whom, the mask's key
    excluded::Set{UInt32}                       # whose shares too few can open
    blamed::Dict{UInt32,String}                 # who broke the protocol, unseen until later
    sum::Vector{T}
    requests::Dict{UInt32,UnmaskRequest}
    answers::Dict{UInt32,UnmaskShares}
end

SecureServer(setup::SecureSetup{T}) where {T} =
    SecureServer{T}(setup, random_bytes(KEY_BYTES), 1, Dict(), Dict(), Dict(), Set(),
        Dict(), Dict(), Set(), Dict(), zeros(T, setup.words), Dict(), Dict())

Base.show(io::IO, s::SecureServer) =
    print(io, "SecureServer(round ", s.setup.round, ", stage ", s.stage, " of 4)")

"Who took part in the stage before."
expected(s::SecureServer) =
    s.stage == 2 ? keys(s.public) : s.stage == 3 ? keys(s.bundles) : s.arrived

function check_turn(s, m, stage, done)
    check_round(s.setup, m)
    what = nameof(typeof(m))
    s.stage == stage ||
        refuse("a ", what, " came in stage ", s.stage, ", and belongs to stage ", stage)
    stage == 1 || m.client in expected(s) ||
        refuse("client ", m.client, " did not take part before ", STAGES[stage])
    m.client in done && refuse("client ", m.client, " sent a ", what, " twice")
end

deliver!(s::SecureServer{T}, m) where {T} = refuse("a ", typeof(m),
    " came, and the server of a round of ", T, " takes none")

function deliver!(s::SecureServer, m::PublicKeys)
    check_turn(s, m, 1, keys(s.public))
    m.client >= 1 || refuse("a client has the number 0")
    # Keys of low order would stop each neighbor, and not their owner.
    foreach(key -> shared_secret(s.probe, key), (m.sealing, m.masking))
    s.public[m.client] = m
    return s
end

function advertised!(s::SecureServer)
    ids = sort!(collect(keys(s.public)))
    length(ids) >= 3 || too_few(s, ids, 3)
    s.neighbors = draw_neighbors(ids, s.setup.neighbours)
    s.stage = 2
    return Dict(
        id => NeighborKeys(s.setup.round, [s.public[v] for v in s.neighbors[id]])
        for id in ids
    )
end

abort(parts...) = throw(RoundAborted(string(parts...)))
too_few(s, ids, needed) =
    abort(length(ids), " clients are left after ", STAGES[s.stage], ", and ", needed,
        " are needed")

"""
    draw_neighbors(ids, k) -> Dict(id => neighbors)

Clients on a circle, in an order drawn anew: the neighbors of each are the k/2 on either
side, or all others if `k` is `nothing` or more than there are (Bell et al. 2020,
section 3.2; Harary's graph).
"""
function draw_neighbors(ids, k)
    n = length(ids)
    (k === nothing || k >= n - 1) &&
        return Dict(id => filter(!=(id), ids) for id in ids)
    circle = shuffle!(Random.RandomDevice(), copy(ids))
    steps = [(-(k÷2)):-1; 1:(k÷2)]
    return Dict(
        id => [circle[mod1(i + d, n)] for d in steps]
        for (i, id) in enumerate(circle)
    )
end

function deliver!(s::SecureServer, m::ShareBundle)
    check_turn(s, m, 2, keys(s.bundles))
    check_size("a commitment", m.commitment, KEY_BYTES)
    all(x -> x.from == m.client, m.shares) &&
    [x.to for x in m.shares] == s.neighbors[m.client] ||
        refuse("client ", m.client, " did not send one share to each of its neighbors")
    foreach(check_sealed, m.shares)
    s.bundles[m.client] = m
    return s
end

function shared!(s::SecureServer)
    check_enough(s, keys(s.bundles))
    s.stage = 3
    inboxes = Dict(id => SealedShares[] for id in keys(s.bundles))
    for id in sort!(collect(keys(s.bundles))), x in s.bundles[id].shares
        haskey(inboxes, x.to) && push!(inboxes[x.to], x)
    end
    return Dict(id => ReceivedShares(s.setup.round, box) for (id, box) in inboxes)
end

"Every client of `left` needs as many of its neighbors in it as give a secret back."
function check_enough(s, left)
    (; fewest) = s.setup
    length(left) >= fewest || too_few(s, left, fewest)
    for id in sort!(collect(left))
        n, t = count(v -> v in left && opened(s, v, id), s.neighbors[id]), threshold(s, id)
        n >= t || too_few_neighbors(s, id, n, t)
    end
end

too_few_neighbors(s, id, n, t) =
    abort(n, " of the ", length(s.neighbors[id]), " neighbors of client ", id,
        " are left after ", STAGES[s.stage], ", and ", t, " are needed")

threshold(s::SecureServer, id) = shares_needed(s.setup, length(s.neighbors[id]))

function deliver!(s::SecureServer{T}, m::MaskedVector{T}) where {T}
    check_turn(s, m, 3, s.arrived)
    length(m.values) == s.setup.words || refuse("client ", m.client,
        " sent ", length(m.values), " values; expected ", s.setup.words)
    check_distinct("the list of unopened shares", [p.client for p in m.unopened])
    all(p -> p.client in s.neighbors[m.client] && haskey(s.bundles, p.client),
        m.unopened) ||
        refuse("client ", m.client, " was sent no shares of a client that it names")
    foreach(p -> check_size("the key of a mask", p.key, KEY_BYTES), m.unopened)
    foreach(m.unopened) do p
        get!(Dict{UInt32,Vector{UInt8}}, s.unopened, p.client)[m.client] = p.key
    end
    s.vectors[m.client] = m.values
    push!(s.arrived, m.client)
    return s
end

"Whether client `v` opened the shares that client `id` sealed for it, and masked with it."
opened(s, v, id) = !(haskey(s.unopened, id) && haskey(s.unopened[id], v))

"The neighbors of a client that are in the sum, and have shared a mask with it."
partners(s, id) = filter(v -> v in s.arrived && opened(s, v, id), s.neighbors[id])

"""
Leave out whose shares too few of its neighbors could open, though enough of these are
there: nobody could take its masks off.
"""
function exclude!(s::SecureServer)
    for id in sort!(collect(keys(s.unopened)))
        id in s.excluded && continue
        holders, t = length(partners(s, id)), threshold(s, id)
        there = count(in(s.arrived), s.neighbors[id])
        holders < t <= there || continue
        push!(s.excluded, id)
        delete!(s.arrived, id)
        s.blamed[id] =
            "sealed shares that $holders of $there neighbors can open, and " *
            "$t must"
        return exclude!(s)         # without it others may have too few
    end
end

function masked!(s::SecureServer)
    exclude!(s)
    check_enough(s, s.arrived)
    s.stage = 4
    foreach(id -> s.sum .+= s.vectors[id], s.arrived)
    empty!(s.vectors)
    for id in s.arrived
        shared = filter(v -> haskey(s.bundles, v) && opened(s, id, v), s.neighbors[id])
        gone(v) = !(v in s.arrived)
        vanished(v) = gone(v) && !(v in s.excluded)
        s.requests[id] = UnmaskRequest(s.setup.round, filter(!gone, shared),
            filter(vanished, shared), filter(in(s.excluded), shared))
    end
    return s.requests
end

function deliver!(s::SecureServer, m::UnmaskShares)
    check_turn(s, m, 4, keys(s.answers))
    (; arrived, vanished, excluded) = s.requests[m.client]
    sent = length.((m.seeds, m.keys, m.pairs))
    asked = length.((arrived, vanished, excluded))
    sent == asked || refuse("client ", m.client, " sent ", join(sent, ", "),
        " shares of seeds and of keys, and masks; expected ", join(asked, ", "))
    foreach(check_share, m.seeds)
    foreach(check_share, m.keys)
    foreach(key -> check_size("the key of a mask", key, KEY_BYTES), m.pairs)
    s.answers[m.client] = m
    return s
end

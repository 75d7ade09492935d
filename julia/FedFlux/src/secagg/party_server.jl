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

    advertised!(s) -> Dict(client => NeighbourKeys)
    shared!(s)     -> Dict(client => ReceivedShares)
    masked!(s)     -> Dict(client => UnmaskRequest)
    unmasked!(s)   -> the sum, a vector of the ring

end a stage. The sum is that of the clients in `s.arrived`. They throw
[`RoundAborted`](@ref) if too few clients are left. `deliver!` throws a
[`FedFluxError`](@ref) for a message that breaks the protocol, and goes on without it.

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
    stage::Int                                  # the stage in progress
    public::Dict{UInt32,PublicKeys}
    neighbours::Dict{UInt32,Vector{UInt32}}
    bundles::Dict{UInt32,ShareBundle}
    arrived::Set{UInt32}                        # whose masked vector is in the sum
    sum::Vector{T}
    requests::Dict{UInt32,UnmaskRequest}
    answers::Dict{UInt32,UnmaskShares}
end

SecureServer(setup::SecureSetup{T}) where {T} =
    SecureServer{T}(setup, 1, Dict(), Dict(), Dict(), Set(), zeros(T, setup.words), Dict(),
        Dict())

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
    check_size("a public key", m.sealing, KEY_BYTES)
    check_size("a public key", m.masking, KEY_BYTES)
    s.public[m.client] = m
    return s
end

function advertised!(s::SecureServer)
    ids = sort!(collect(keys(s.public)))
    length(ids) >= 3 || too_few(s, ids, 3)
    s.neighbours = draw_neighbours(ids, s.setup.neighbours)
    s.stage = 2
    return Dict(
        id => NeighbourKeys(s.setup.round, [s.public[v] for v in s.neighbours[id]])
        for id in ids
    )
end

abort(parts...) = throw(RoundAborted(string(parts...)))
too_few(s, ids, needed) =
    abort(length(ids), " clients are left after ", STAGES[s.stage], ", and ", needed,
        " are needed")

"""
    draw_neighbours(ids, k) -> Dict(id => neighbours)

Clients on a circle, in an order drawn anew: the neighbours of each are the k/2 on either
side; all others where `k` is `nothing` or more than there are (Bell et al. 2020,
section 3.2; Harary's graph).
"""
function draw_neighbours(ids, k)
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
    [x.to for x in m.shares] == s.neighbours[m.client] ||
        refuse("client ", m.client, " did not send one share to each of its neighbours")
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

"Every client of `left` needs as many of its neighbours in it as give a secret back."
function check_enough(s, left)
    (; fewest) = s.setup
    length(left) >= fewest || too_few(s, left, fewest)
    for id in sort!(collect(left))
        n, t = count(in(left), s.neighbours[id]), threshold(s, id)
        n >= t || too_few_neighbours(s, id, n, t)
    end
end

too_few_neighbours(s, id, n, t) =
    abort(n, " of the ", length(s.neighbours[id]), " neighbours of client ", id,
        " are left after ", STAGES[s.stage], ", and ", t, " are needed")

threshold(s::SecureServer, id) = shares_needed(s.setup, length(s.neighbours[id]))

function deliver!(s::SecureServer{T}, m::MaskedVector{T}) where {T}
    check_turn(s, m, 3, s.arrived)
    length(m.values) == s.setup.words || refuse("client ", m.client,
        " sent ", length(m.values), " values; expected ", s.setup.words)
    s.sum .+= m.values
    push!(s.arrived, m.client)
    return s
end

function masked!(s::SecureServer)
    check_enough(s, s.arrived)
    s.stage = 4
    for id in s.arrived
        shared = filter(v -> haskey(s.bundles, v), s.neighbours[id])
        s.requests[id] = UnmaskRequest(s.setup.round, filter(in(s.arrived), shared),
            filter(!in(s.arrived), shared))
    end
    return s.requests
end

function deliver!(s::SecureServer, m::UnmaskShares)
    check_turn(s, m, 4, keys(s.answers))
    (; arrived, vanished) = s.requests[m.client]
    length(m.seeds) == length(arrived) && length(m.keys) == length(vanished) ||
        refuse("client ", m.client, " sent ", length(m.seeds), " and ",
            length(m.keys), " shares; expected ", length(arrived), " and ",
            length(vanished))
    foreach(check_share, m.seeds)
    foreach(check_share, m.keys)
    s.answers[m.client] = m
    return s
end

function unmasked!(s::SecureServer)
    (; round) = s.setup
    for id in s.arrived
        seed = recover(s, id, r -> r.arrived, a -> a.seeds)
        commitment(seed, round, id) == s.bundles[id].commitment ||
            refuse("a share of client ", id, "'s seed is wrong")
        subtract_mask!(s.sum, seed_key(seed, round, id))
    end
    for id in setdiff(keys(s.bundles), s.arrived)
        others = filter(in(s.arrived), s.neighbours[id])
        isempty(others) && continue             # its masks are in no vector
        secret = recover(s, id, r -> r.vanished, a -> a.keys)
        public_key(secret) == s.public[id].masking ||
            refuse("a share of client ", id, "'s mask key is wrong")
        for v in others
            key = mask_key(secret, s.public[v].masking, round, id, v)
            add_pair_mask!(s.sum, key, id, v)   # the opposite of what v added
        end
    end
    s.stage = 5
    return s.sum
end

"A secret of client `id` from the answers of its neighbours."
function recover(s, id, asked, answered)
    holders = filter(v -> haskey(s.answers, v), s.neighbours[id])
    position(v) = findfirst(==(id), asked(s.requests[v]))
    t = threshold(s, id)
    length(holders) >= t || too_few_neighbours(s, id, length(holders), t)
    shares = [answered(s.answers[v])[position(v)] for v in resize!(holders, t)]
    return recover_secret(shares, holders, t)
end

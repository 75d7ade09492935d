# A whole round of secure aggregation in one process: every party as an object of its own,
# and only messages between them.

"""
    SecureOutcome

What [`secure_sum`](@ref) gives.

- `sum`: of the vectors of the clients in `arrived`, positions in `inputs`; `nothing` if
  the round was aborted.
- `aborted`: why, or `nothing`.
- `vanished`: `(position, stage)` of each client that vanished, before its message of the
  stage (1 to 4). One that vanished in stage 4 is in the sum.
- `blamed`: `(position, reason)` of each client that broke the protocol and was not refused
  at once.
- `bytes_up`, `bytes_down`: what all clients together sent and received, by stage.
- `seconds_clients`: what all clients together worked; `seconds_server`: what the server
  did.
"""
struct SecureOutcome{T<:Ring}
    sum::Union{Nothing,Vector{T}}
    arrived::Vector{Int}
    aborted::Union{Nothing,String}
    vanished::Vector{Tuple{Int,Int}}
    blamed::Vector{Tuple{Int,String}}
    bytes_up::Vector{Int}
    bytes_down::Vector{Int}
    seconds_clients::Float64
    seconds_server::Float64
    SecureOutcome{T}(fields...) where {T<:Ring} = new{T}(fields...)   # `sum` tells no T
end

"A simulated round in progress: its costs, and who is still there."
mutable struct SecureRound{T<:Ring}
    clients::Vector{SecureClient{T}}
    server::SecureServer{T}
    vanishes::Vector{Int}       # the stage in which each client vanishes; 0: in none
    bytes_up::Vector{Int}
    bytes_down::Vector{Int}
    seconds_clients::Float64
    seconds_server::Float64
end

"""
    secure_sum(inputs; neighbours = nothing, threshold = 0.6, fewest = 3, round = 1,
               vanishes = zeros(Int, length(inputs))) -> SecureOutcome

The sum of `inputs`, vectors of `UInt32` or of `UInt64`, modulo 2^32 or 2^64, by secure
aggregation with one client for each. Clients are numbered by their positions.

- `neighbours`, `threshold`, `fewest`, `round`: as in [`SecureSetup`](@ref).
- `vanishes`: for each client the stage in which it vanishes (1 advertising keys, 2 sharing
  secrets, 3 sending the masked vector, 4 unmasking); 0: it stays.

Throws a [`FedFluxError`](@ref) for vectors of different lengths.

```julia
FedFlux.secure_sum([UInt32[k, 1] for k in 1:5]).sum == UInt32[15, 5]
```
"""
function secure_sum(inputs::Vector{Vector{T}}; neighbours = nothing, threshold = 0.6,
    fewest = 3, round = 1, vanishes = zeros(Int, length(inputs))) where {T<:Ring}
    words = isempty(inputs) ? 0 : length(first(inputs))
    all(x -> length(x) == words, inputs) ||
        fail("secure_sum: the vectors have ", join(unique(length.(inputs)), " and "),
            " values; expected the same number in all")
    length(vanishes) == length(inputs) && all(in(0:4), vanishes) ||
        fail("secure_sum: vanishes is ", vanishes, "; expected a stage from 0 to 4 for ",
            "each of ", length(inputs), " clients")
    setup = SecureSetup{T}(; round, words, neighbours, threshold, fewest)
    r = SecureRound{T}([SecureClient(setup, id) for id in eachindex(inputs)],
        SecureServer(setup), vanishes, zeros(Int, 4), zeros(Int, 4), 0.0, 0.0)
    try
        return SecureOutcome(r, run_stages!(r, inputs), nothing)
    catch err
        err isa RoundAborted || rethrow()
        return SecureOutcome(r, nothing, err.reason)
    end
end

function run_stages!(r::SecureRound, inputs)
    everyone = Dict(c.id => nothing for c in r.clients)
    client_stage!((c, _) -> advertise!(c), r, 1, everyone)
    keys = server_stage!(advertised!, r)
    client_stage!(share!, r, 2, keys)
    shares = server_stage!(shared!, r)
    client_stage!((c, m) -> mask!(c, m, inputs[c.id]), r, 3, shares)
    requests = server_stage!(masked!, r)
    client_stage!(unmask!, r, 4, requests)
    return server_stage!(unmasked!, r)
end

"Each client that is still there answers what the server sent it."
function client_stage!(answer, r::SecureRound, stage, incoming)
    for c in r.clients
        r.vanishes[c.id] in 1:stage && continue
        haskey(incoming, c.id) || continue
        message = incoming[c.id]
        message === nothing || (r.bytes_down[stage] += message_bytes(message))
        begun = time_ns()
        reply = answer(c, message)
        answered = time_ns()
        deliver!(r.server, reply)
        r.seconds_clients += (answered - begun) / 1e9
        r.seconds_server += (time_ns() - answered) / 1e9
        r.bytes_up[stage] += message_bytes(reply)
    end
end

function server_stage!(close!, r::SecureRound)
    begun = time_ns()
    out = close!(r.server)
    r.seconds_server += (time_ns() - begun) / 1e9
    return out
end

SecureOutcome(r::SecureRound{T}, sum, aborted) where {T} =
    SecureOutcome{T}(sum, sort!(Int.(collect(r.server.arrived))), aborted,
        [(i, stage) for (i, stage) in enumerate(r.vanishes) if stage > 0],
        sort!([(Int(id), reason) for (id, reason) in r.server.blamed]),
        r.bytes_up, r.bytes_down, r.seconds_clients, r.seconds_server)

# What a client keeps between messages: the private state of its rules after each round that
# the server may still go back to.

const STATES_FORMAT = 2

"""
    ClientStates(federation)

A client's memory of one federation: `rounds` and, for each, the `states` of its rules after
that round, oldest first; `secure`, what it holds between the stages of secure aggregation;
and, if it answers once only, the rounds after `closed` and their stages that it has
`answered`. Whether a round counted, the server says in the next message: what was kept of
one that didn't is then dropped. States of older rounds stay as long as the server could
be restarted from a checkpoint before them.
"""
mutable struct ClientStates
    federation::Vector{UInt8}
    rounds::Vector{Int}
    states::Vector{Any}
    secure::Any
    answered::Vector{Answered}
    closed::Int
end
ClientStates(federation) =
    ClientStates(federation, Int[], Any[], nothing, Answered[], 0)

"""
    ClientStates(bytes, federation)

What [`kept_bytes`](@ref) gave; a new one for no bytes, or those of another federation.
Throws a [`FedFluxError`](@ref) for bytes that it didn't give.
"""
function ClientStates(bytes::Vector{UInt8}, federation)
    isempty(bytes) && return ClientStates(federation)
    kept = read_values!(Reader(bytes))
    kept isa NamedTuple && get(kept, :format, 0) == STATES_FORMAT ||
        fail("a client's state is of another version of fedflux")
    kept.federation == federation || return ClientStates(federation)
    return ClientStates(federation, kept.rounds, collect(Any, kept.states), kept.secure,
        collect(Answered, kept.answered), kept.closed)
end

"The states as bytes, for whoever keeps them; nobody else may read them."
function kept_bytes(s::ClientStates)
    w = Writer()
    write_values!(
        w,
        (; format = STATES_FORMAT, s.federation, s.rounds,
            states = Tuple(s.states), s.secure, answered = Tuple(s.answered), s.closed)
    )
    return take_bytes!(w)
end

"""
    state_after!(s::ClientStates, counted, saved) -> state or nothing

The state after `counted`, the last round in which the client's update counted; `nothing`
for 0, and if the client has lost it. Later ones, which didn't count, are dropped, and
those that no checkpoint from round `saved` on needs.
"""
function state_after!(s::ClientStates, counted, saved)
    later = findall(>(counted), s.rounds)
    deleteat!(s.rounds, later)
    deleteat!(s.states, later)
    needed = something(findlast(<=(saved), s.rounds), 1)
    deleteat!(s.rounds, 1:(needed-1))
    deleteat!(s.states, 1:(needed-1))
    return isempty(s.rounds) || last(s.rounds) != counted ? nothing : last(s.states)
end

function remember!(s::ClientStates, round, state)
    push!(s.rounds, round)
    push!(s.states, state)
end

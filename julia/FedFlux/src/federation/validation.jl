# What the server checks before an update counts.

"""
    Door(f, st, cohort, maxweight)

Decides whether a message counts: from a client that was asked, for this round, once, with a believable weight, and with
the slots, shapes and finite values that the others have. `maxweight`: more is no believable weight.
"""
mutable struct Door
    round::Int
    n::Int
    asked::Set{Int}
    seen::Set{Int}
    maxweight::Float64
    like::Any          # names and lengths of the first update that passed
end
Door(st::State, cohort, maxweight) = Door(st.round + 1, length(st.θ), Set(cohort), Set{Int}(), maxweight, nothing)

"""
    refusal(door, m::Message; finite = nothing) -> reason or nothing

Why a message doesn't count. One that counts is remembered. `finite` says whether all its values are, where that was found
out before.
"""
function refusal(door::Door, m::Message; finite = nothing)
    m.client in door.asked || return "was not asked in this round"
    m.round == door.round || return "is of round $(m.round), not $(door.round)"
    m.client in door.seen && return "was sent twice"
    isfinite(m.weight) && 0 <= m.weight <= door.maxweight || return "claims the weight $(m.weight), and at most $(door.maxweight) is possible"
    reason = wrong_shape(door, m.update)
    reason === nothing || return reason
    something(finite, isfinite_update(m.update)) || return NOT_FINITE
    door.like === nothing && (door.like = map(length, m.update))
    push!(door.seen, m.client)
    return nothing
end

function wrong_shape(door, u)
    u isa NamedTuple && haskey(u, :delta) || return "has no slot delta"
    all(v -> v isa AbstractVector{Float32}, values(u)) || return "holds a slot that is no Float32 vector"
    length(u.delta) == door.n || return "has $(length(u.delta)) values in delta, and the model $(door.n)"
    door.like === nothing || map(length, u) == door.like || return "has slots $(map(length, u)), and the others $(door.like)"
    return nothing
end

const NOT_FINITE = "holds NaN or Inf"

isfinite_update(u) = u isa NamedTuple && all(v -> v isa AbstractVector{Float32} && allfinite(v), values(u))

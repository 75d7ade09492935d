# Validation: what the server checks before an update counts.

"""
    Validator(st, cohort, max_weight)

Decides whether a message counts: it must come from a selected client, for this round, once,
with a plausible weight (at most `max_weight`), and with the shape and finite values that
the others have.
"""
mutable struct Validator
    round::Int
    n::Int
    selected::Set{Int}
    seen::Set{Int}
    max_weight::Float64
    like::Any          # the shape of the first update that passed
end
Validator(st::State, cohort, max_weight) =
    Validator(st.round + 1, length(st.θ), Set(cohort), Set{Int}(), max_weight, nothing)

"""
    rejection(v::Validator, m::Message) -> reason or nothing

Why a message does not count, or `nothing` for one that counts, which is then remembered.
"""
function rejection(v::Validator, m::Message)
    m.client in v.selected || return "was not asked in this round"
    m.round == v.round || return "is of round $(m.round), not $(v.round)"
    m.client in v.seen && return SENT_TWICE
    isfinite(m.weight) && 0 <= m.weight <= v.max_weight ||
        return "claims the weight $(m.weight), and at most $(v.max_weight) is possible"
    reason = wrong_shape(v, m.update)
    reason === nothing || return reason
    allfinite(m.update) || return NOT_FINITE
    v.like === nothing && (v.like = shape(m.update))
    push!(v.seen, m.client)
    return nothing
end

function wrong_shape(v::Validator, u)
    u isa Update && haskey(u.vectors, :delta) || return "has no vector delta"
    all(p -> p isa AbstractVector{Float32}, parts(u)) ||
        return "holds a part that is no Float32 vector"
    length(u.delta) == v.n ||
        return "has $(length(u.delta)) values in delta, and the model $(v.n)"
    v.like === nothing || shape(u) == v.like ||
        return "has the shape $(shape(u)), and the others $(v.like)"
    return nothing
end

"Take the shape of an update that the server can trust as the one to expect."
expect!(v::Validator, u) = v.like === nothing && (v.like = shape(u))

# Of a further message: the first has counted, or has a reason of its own.
const SENT_TWICE = "was sent twice"
const NOT_FINITE = "holds NaN or Inf"

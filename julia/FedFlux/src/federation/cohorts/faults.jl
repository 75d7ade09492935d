# Simulated failures of clients. They follow from (seed, round, client) and are decided
# before any client trains, so the same clients fail on any machine.

"A client whose update did not count, and why."
const Dropped = @NamedTuple{client::Int, reason::String}

const CRASHED = "crashed"

"""
    Fault

One way in which clients fail: `simulate(fault, rng) -> (seconds, reason)`, the simulated
seconds that it adds to a client's round, and why the client drops out, or `nothing`.
"""
abstract type Fault end

"""
    Crash(p = 0.1)

A client does not answer, with probability `p` in each round.
"""
Base.@kwdef struct Crash <: Fault
    p::Float64 = 0.1
end
simulate(f::Crash, rng) = 0.0, rand(rng, Float64) < f.p ? CRASHED : nothing

"""
    DropOut(p = 0.1)

A client starts the round, downloads the model, and disappears before it sends its update,
with probability `p`.
"""
Base.@kwdef struct DropOut <: Fault
    p::Float64 = 0.1
end
simulate(f::DropOut, rng) = 0.0, rand(rng, Float64) < f.p ? "dropped out" : nothing

"""
    Delay(mean = 1.0, law = :exponential)

A client's answer takes simulated seconds, drawn anew each round: `law` is `:exponential`,
`:uniform` (0 to 2·mean) or `:constant`.
"""
struct Delay <: Fault
    mean::Float64
    law::Symbol
    function Delay(mean = 1.0, law = :exponential)
        mean > 0 && isfinite(mean) ||
            fail("Delay: mean is ", mean, "; expected a positive number of seconds")
        Symbol(law) in (:exponential, :uniform, :constant) ||
            fail("Delay: law is ", law, "; expected exponential, uniform or constant")
        return new(mean, Symbol(law))
    end
end
construct(::Val{:fault}, ::Val{:delay}; mean, law) = Delay(mean, law)
function simulate(f::Delay, rng)
    u = rand(rng, Float64)
    factor = f.law === :constant ? 1.0 : f.law === :uniform ? 2u : -log1p(-u)
    return f.mean * factor, nothing
end

"""
    Faults(list = (); deadline = nothing, overselect = 1.0, min_updates = 1)

Simulated failures, and how the server copes with them.

- `list`: [`Fault`](@ref)s.
- `deadline`: simulated seconds after which an answer no longer counts.
- `overselect`: this many times the wanted clients are selected, and the first to answer
  count.
- `min_updates`: with fewer valid updates a round leaves the model as it was.

Throws a [`FedFluxError`](@ref) for values out of range.
"""
struct Faults{F<:Tuple}
    list::F
    deadline::Union{Nothing,Float64}
    overselect::Float64
    min_updates::Int
end

function Faults(list = (); deadline = nothing, overselect = 1.0, min_updates = 1)
    deadline === nothing || deadline > 0 ||
        fail("deadline is ", deadline, "; expected a positive number of simulated seconds")
    overselect >= 1 && isfinite(overselect) ||
        fail("overselect is ", overselect, "; expected 1 or more")
    min_updates >= 1 || fail("min_updates is ", min_updates, "; expected 1 or more")
    list = list isa Fault ? (list,) : Tuple(list)
    for fault in list
        fault isa Fault ||
            fail("faults contain ", fault, "; expected FedFlux.Fault objects")
    end
    deadline = deadline === nothing ? nothing : Float64(deadline)
    return Faults(list, deadline, Float64(overselect), Int(min_updates))
end

"The number of clients to select out of `N` if `wanted` should answer."
cohort_size(f::Faults, wanted, N) = min(N, ceil(Int, f.overselect * wanted - 1e-9))

"""
    simulate_faults(f::Faults, seed, round, cohort, wanted)
        -> (responding, dropped, seconds)

The clients of `cohort` whose answer counts, in cohort order; who dropped out and why; and
the simulated seconds that the round takes, `nothing` if there are no delays.
"""
function simulate_faults(f::Faults, seed, round, cohort, wanted)
    isempty(f.list) && wanted >= length(cohort) && return cohort, Dropped[], nothing
    dropped, arrivals = Dropped[], Tuple{Float64,UInt64,Int}[]
    for k in cohort
        rng = Stream(seed, :faults, round, k)
        outcomes = map(fault -> simulate(fault, rng), f.list)
        seconds = sum(first, outcomes; init = 0.0)
        reason = why_dropped(f, seconds, map(last, outcomes))
        tie_break = rand(rng, UInt64)       # who is first of those that answer together
        reason === nothing ? push!(arrivals, (seconds, tie_break, k)) :
        push!(dropped, (; client = k, reason))
    end
    sort!(arrivals)
    for (_, _, k) in arrivals[(wanted+1):end]
        push!(dropped, (; client = k, reason = "not needed: $wanted others were faster"))
    end
    counted = arrivals[1:min(wanted, end)]
    waits = length(counted) < wanted && f.deadline !== nothing
    seconds = waits ? f.deadline : isempty(counted) ? 0.0 : first(last(counted))
    seconds = any(fault -> fault isa Delay, f.list) ? seconds : nothing
    return sort!(last.(counted)), sort!(dropped; by = d -> d.client), seconds
end

function why_dropped(f::Faults, seconds, reasons)
    i = findfirst(!isnothing, reasons)
    i === nothing || return reasons[i]
    f.deadline === nothing || seconds <= f.deadline ||
        return "late: $(round(seconds; sigdigits = 3)) s, and the deadline is " *
               "$(f.deadline) s"
    return nothing
end

# Clients that fail, simulated: decided from (seed, round, client) before anyone trains, so who fails is the same on any machine.

"A client whose update did not count, and why."
const Lost = @NamedTuple{client::Int, reason::String}

"""
    Fault

One way in which clients fail: `strike(fault, rng) -> (seconds, reason)`, the simulated seconds that it adds to a client's
round, and why the client is lost, or `nothing`.
"""
abstract type Fault end

"""
    Crash(p = 0.1)

A client doesn't answer, with probability `p` in each round.
"""
struct Crash <: Fault
    p::Float64
end
Crash() = Crash(0.1)
construct(::Val{:fault}, ::Val{:crash}; p) = Crash(p)
strike(f::Crash, rng) = 0.0, rand(rng, Float64) < f.p ? "crashed" : nothing

"""
    DropOut(p = 0.1)

A client begins the round, receives the model, and is gone before it sends, with probability `p`.
"""
struct DropOut <: Fault
    p::Float64
end
DropOut() = DropOut(0.1)
construct(::Val{:fault}, ::Val{:dropout}; p) = DropOut(p)
strike(f::DropOut, rng) = 0.0, rand(rng, Float64) < f.p ? "dropped out" : nothing

"""
    Delay(mean = 1.0, law = :exponential)

A client's answer takes simulated seconds, drawn anew each round: `law` is `:exponential`, `:uniform` (0 to 2·mean) or
`:constant`.
"""
struct Delay <: Fault
    mean::Float64
    law::Symbol
    function Delay(mean = 1.0, law = :exponential)
        mean > 0 && isfinite(mean) || fail("Delay: mean is ", mean, "; expected a positive number of seconds")
        Symbol(law) in (:exponential, :uniform, :constant) || fail("Delay: law is ", law, "; expected exponential, uniform or constant")
        return new(mean, Symbol(law))
    end
end
construct(::Val{:fault}, ::Val{:delay}; mean, law) = Delay(mean, law)
function strike(f::Delay, rng)
    u = rand(rng, Float64)
    return f.mean * (f.law === :constant ? 1.0 : f.law === :uniform ? 2u : -log1p(-u)), nothing
end

"""
    Faults(list = (); deadline = nothing, overselect = 1.0, min_updates = 1)

How a federation meets failing clients.

- `list`: [`Fault`](@ref)s.  `deadline`: simulated seconds after which an answer is lost.
- `overselect`: so many times the wanted clients are asked, and the first to answer count.
- `min_updates`: with fewer valid updates a round leaves the model as it was.
"""
struct Faults{F<:Tuple}
    list::F
    deadline::Union{Nothing,Float64}
    overselect::Float64
    min_updates::Int
end

function Faults(list = (); deadline = nothing, overselect = 1.0, min_updates = 1)
    deadline === nothing || deadline > 0 || fail("deadline is ", deadline, "; expected a positive number of simulated seconds")
    overselect >= 1 && isfinite(overselect) || fail("overselect is ", overselect, "; expected 1 or more")
    min_updates >= 1 || fail("min_updates is ", min_updates, "; expected 1 or more")
    list = list isa Fault ? (list,) : Tuple(list)
    all(f -> f isa Fault, list) || fail("faults contain ", first(f for f in list if !(f isa Fault)), "; expected FedFlux.Fault objects")
    return Faults(list, deadline === nothing ? nothing : Float64(deadline), Float64(overselect), Int(min_updates))
end

"How many clients are asked where `wanted` of `N` should answer."
asked(f::Faults, wanted, N) = min(N, ceil(Int, f.overselect * wanted - 1e-9))

"""
    muster(f::Faults, seed, round, cohort, wanted) -> (present, lost, seconds)

Those of `cohort` whose answer will count, in cohort order; who is lost and why; and the simulated seconds that the round
takes, `nothing` where nobody is delayed.
"""
function muster(f::Faults, seed, round, cohort, wanted)
    isempty(f.list) && wanted >= length(cohort) && return cohort, Lost[], nothing
    lost, arrivals = Lost[], Tuple{Float64,Int}[]
    for k in cohort
        rng = Stream(seed, :faults, round, k)
        struck = map(fault -> strike(fault, rng), f.list)
        seconds = sum(first, struck; init = 0.0)
        reasons = [r for (_, r) in struck if r !== nothing]
        late = f.deadline !== nothing && seconds > f.deadline
        isempty(reasons) && !late && (push!(arrivals, (seconds, k)); continue)
        push!(lost, (; client = k, reason = isempty(reasons) ? "late: $(round_to(seconds)) s, and the deadline is $(f.deadline) s" : first(reasons)))
    end
    sort!(arrivals)
    for (_, k) in arrivals[wanted+1:end]
        push!(lost, (; client = k, reason = "not needed: $wanted others were faster"))
    end
    counted = arrivals[1:min(wanted, end)]
    waited = length(counted) < wanted && f.deadline !== nothing ? f.deadline : isempty(counted) ? 0.0 : first(last(counted))
    seconds = any(fault -> fault isa Delay, f.list) ? waited : nothing
    return sort!(last.(counted)), sort!(lost; by = l -> l.client), seconds
end

round_to(seconds) = round(seconds; sigdigits = 3)

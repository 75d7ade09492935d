# The cohort of a round: which clients are available, and which of those are drawn.

"""
    Sampling

How the cohort of a round is drawn: `draw(sampling, available, clients, n, round, rng)`
gives clients out of the sorted list `available`, in any order; `n` is the wanted number of
clients (`clients_per_round`).
"""
abstract type Sampling end

"""
    UniformSampling()

`n` different clients, all equally likely; all available clients if they are no more than
`n`.

```julia
FedFlux.draw(FedFlux.UniformSampling(), 1:5, nothing, 2, 1, Stream(0, :cohort, 1))
```
"""
struct UniformSampling <: Sampling end

draw(::UniformSampling, available, clients, n, round, rng) =
    n >= length(available) ? collect(available) : shuffle!(rng, collect(available))[1:n]

"""
    PoissonSampling(rate = nothing)

Each client takes part with probability `rate`, independently of the others, so cohorts
differ in size and may be empty. This is what the analysis of differential privacy assumes
(McMahan et al. 2018, arXiv:1710.06963). By default `n` over the number of clients.

```julia
clients = Clients(zeros(Float32, 1, 3), zeros(3), [[1], [2], [3]])
FedFlux.draw(FedFlux.PoissonSampling(0.4), 1:3, clients, 3, 1, Stream(0, :cohort, 1))
```
"""
Base.@kwdef struct PoissonSampling <: Sampling
    rate::Union{Nothing,Float64} = nothing
end

function draw(s::PoissonSampling, available, clients, n, round, rng)
    rate = something(s.rate, n / length(clients))
    # A draw for unavailable clients too, so that none depends on who is available.
    drawn = [rand(rng, Float64) < rate for _ = 1:length(clients)]
    return [k for k in available if drawn[k]]
end

"""
    WeightedSampling()

`n` different clients, one after another, each with a probability in proportion to its
number of samples among those left; drawn at once by Efraimidis & Spirakis's keys (2006,
Inf. Process. Lett. 97(5)). With `weights = "uniform"` this is close to scheme I of Li et
al. 2020 (arXiv:1907.02189), which draws with replacement; with the default weights, large
clients count twice.

```julia
clients = Clients(zeros(Float32, 1, 4), zeros(4), [[1], [2, 3, 4]])
sampling, rng = FedFlux.WeightedSampling(), Stream(0, :cohort, 1)
FedFlux.draw(sampling, 1:2, clients, 1, 1, rng)   # [2], three times out of four
```
"""
struct WeightedSampling <: Sampling end

function draw(::WeightedSampling, available, clients, n, round, rng)
    keys = [log(1 - rand(rng, Float64)) / nsamples(clients, k) for k = 1:length(clients)]
    wanted = 1:min(n, length(available))
    return partialsort(available, wanted; by = k -> keys[k], rev = true)
end

"""
    RoundRobin()

Clients 1 to `n` in the first round, the next `n` in the second, and so on in a circle; an
unavailable client loses its turn.

```julia
clients = Clients(zeros(Float32, 1, 5), zeros(5), [[k] for k in 1:5])
FedFlux.draw(FedFlux.RoundRobin(), 1:5, clients, 2, 3, nothing)   # [5, 1]
```
"""
struct RoundRobin <: Sampling end

function draw(::RoundRobin, available, clients, n, round, rng)
    turn = [mod1((round - 1) * n + i, length(clients)) for i = 1:n]
    return filter!(k -> insorted(k, available), turn)
end

"""
    Availability

Which clients are available in a round: `available(a, N, round, rng)` gives a sorted list of
clients out of 1:N. It may be empty: such a round changes nothing.
"""
abstract type Availability end

"""
    AlwaysAvailable()

Every client is available in every round.
"""
struct AlwaysAvailable <: Availability end

available(::AlwaysAvailable, N, round, rng) = 1:N

"""
    RandomAvailability(p)

Each client is available with probability `p` in each round, independently of other clients
and rounds.
"""
Base.@kwdef struct RandomAvailability <: Availability
    p::Float64
end

available(a::RandomAvailability, N, round, rng) =
    [k for k = 1:N if rand(rng, Float64) < a.p]

"""
    AvailabilityTrace(available)
    AvailabilityTrace(path)

Clients are available by a record: `available` is a (clients, rounds) matrix of Bool, which
starts again after its last round. In a file each line is a round, with a 0 or 1 for each
client, with or without commas or blanks between them. Throws a [`FedFluxError`](@ref) for a
file that is missing or has another form.

```julia
trace = FedFlux.AvailabilityTrace(Bool[1 0; 1 1])
FedFlux.available(trace, 2, 2, nothing)   # [2]
```
"""
struct AvailabilityTrace <: Availability
    available::Matrix{Bool}
end

construct(::Val{:availability}, ::Val{:trace}; path) = AvailabilityTrace(path)

function AvailabilityTrace(path::AbstractString)
    isfile(path) || fail("availability trace: there is no file ", path,
        "; expected lines of 0 and 1, a line for each round")
    rows = eachsplit(read_text(path), '\n')
    lines = filter(!isempty, [replace(row, r"[\s,;]" => "") for row in rows])
    isempty(lines) && fail("availability trace: ", path,
        " is empty; expected a line of 0 and 1 for each round")
    for (i, line) in enumerate(lines)
        bad = findfirst(!in("01"), line)
        bad === nothing || fail("availability trace: line ", i, " of ", path, " contains ",
            repr(line[bad]), "; expected 0 and 1")
        length(line) == length(lines[1]) ||
            fail("availability trace: line ", i, " of ", path, " is for ", length(line),
                " clients and line 1 for ", length(lines[1]), "; expected the same")
    end
    return AvailabilityTrace([line[k] == '1' for k = 1:length(lines[1]), line in lines])
end

function available(a::AvailabilityTrace, N, round, rng)
    n, rounds = size(a.available)
    n == N || fail("the availability trace is for ", n, " clients, and there are ", N)
    return findall(view(a.available, :, mod1(round, rounds)))
end

"""
    CohortSampling(clients_per_round; sampling = UniformSampling(),
                   availability = AlwaysAvailable())

How many clients take part in a round, and how they are drawn: a [`Sampling`](@ref) out of
those that an [`Availability`](@ref) gives.
"""
struct CohortSampling{S<:Sampling,A<:Availability}
    clients_per_round::Int
    sampling::S
    availability::A
end

CohortSampling(clients_per_round; sampling = UniformSampling(),
    availability = AlwaysAvailable()) =
    CohortSampling(clients_per_round, sampling, availability)

"""
    draw_cohort(c::CohortSampling, clients, n, seed, round,
                rng = Stream(seed, :cohort, round), kept = nothing)

The clients that are selected for a round, in rising order; `n` of them are wanted. Who is
available follows from `(seed, round)`; who is drawn, from `rng`, and for a
[`LearnedSampling`](@ref) from what it kept of the rounds before.

```julia
clients = Clients(zeros(Float32, 1, 100), zeros(100), [[k] for k in 1:100])
FedFlux.draw_cohort(FedFlux.CohortSampling(10), clients, 10, 0, 1)
```
"""
function draw_cohort(c::CohortSampling, clients, n, seed, round,
    rng = Stream(seed, :cohort, round), kept = nothing)
    there = available(c.availability, length(clients), round,
        Stream(seed, :availability, round))
    isempty(there) && return Int[]
    return sort!(draw(c.sampling, kept, there, clients, n, round, rng))
end

"""
    FunctionSampling(f; name = nameof(f))
    FunctionAvailability(f; name = nameof(f))

The cohort of a round, or the clients that are available in it, by a function of your own:
`f(round, clients, rng)` gives some of the `clients`, a list of their numbers from 1: those
that are available, or all. All randomness comes from `rng`. When an option takes a
[`Sampling`](@ref) or an [`Availability`](@ref), you may give `f` itself.

Throws a [`FedFluxError`](@ref) that names the round if `f` gives anything else, or a client
twice.

```julia
odd(round, clients, rng) = filter(isodd, clients)
FedFlux.draw(FedFlux.FunctionSampling(odd), 1:5, nothing, 2, 1, nothing)    # [1, 3, 5]
```
"""
struct FunctionSampling <: Sampling
    f::Any
    name::String
end

@doc (@doc FunctionSampling)
struct FunctionAvailability <: Availability
    f::Any
    name::String
end

FunctionSampling(f; name = function_name(f)) = FunctionSampling(f, name)
FunctionAvailability(f; name = function_name(f)) = FunctionAvailability(f, name)

Base.show(io::IO, s::Union{FunctionSampling,FunctionAvailability}) =
    print(io, nameof(typeof(s)), "(", s.name, ")")

object_of(::Val{:sampling}, f::Function) = FunctionSampling(f)
object_of(::Val{:availability}, f::Function) = FunctionAvailability(f)

draw(s::FunctionSampling, available, clients, n, round, rng) =
    chosen(s.f, "sampling $(s.name)", round, available, rng)

available(a::FunctionAvailability, N, round, rng) =
    chosen(a.f, "availability $(a.name)", round, 1:N, rng)

"What the user's function chooses out of the sorted list `clients`, checked and sorted."
function chosen(f, name, round, clients, rng)
    answer = call_chooser(f, round, collect(Int, clients), rng)
    listed = answer isa AbstractVector && all(k -> k isa Integer, answer)
    wrong(came...) = fail(name, " in round ", round,
        ": expected a list of some of the clients that it was given, got ", came...)
    listed || wrong(first(repr(answer), 80))
    picked = sort!(collect(Int, answer))
    k = findfirst(k -> !insorted(k, clients), picked)
    k === nothing || wrong(picked[k], ", which is none of these")
    allunique(picked) ||
        wrong(picked[findfirst(i -> picked[i] == picked[i+1], 1:length(picked))], " twice")
    return picked
end

"Call the user's function; one of another language has a method of its own."
call_chooser(f, round, clients, rng) = f(round, clients, rng)

# Who takes part in a round: who is there, and who of those is drawn.

"""
    Sampling

How a round's cohort is drawn: `draw(sampling, there, clients, n, round, rng)` gives clients out of the sorted list `there`,
in any order; `n` is the number of clients a round (`clients_per_round`).
"""
abstract type Sampling end

"""
    UniformSampling()

`n` different clients, all equally likely; everyone who is there where they are no more than `n`.

```julia
FedFlux.draw(FedFlux.UniformSampling(), 1:5, nothing, 2, 1, Stream(0, :cohort, 1))
```
"""
struct UniformSampling <: Sampling end

construct(::Val{:sampling}, ::Val{:uniform}) = UniformSampling()

draw(::UniformSampling, there, clients, n, round, rng) = n >= length(there) ? collect(there) : shuffle!(rng, collect(there))[1:n]

"""
    PoissonSampling(rate = nothing)

Each client takes part with probability `rate`, independently of the others, so that cohorts differ in size and may be empty;
what the analysis of differential privacy asks for (McMahan et al. 2018, arXiv:1710.06963). Unset: `n` over the number of
clients.

```julia
clients = Clients(zeros(Float32, 1, 3), zeros(3), [[1], [2], [3]])
FedFlux.draw(FedFlux.PoissonSampling(0.4), 1:3, clients, 3, 1, Stream(0, :cohort, 1))
```
"""
struct PoissonSampling <: Sampling
    rate::Union{Nothing,Float64}
end
PoissonSampling() = PoissonSampling(nothing)

construct(::Val{:sampling}, ::Val{:poisson}; rate) = PoissonSampling(rate)

function draw(s::PoissonSampling, there, clients, n, round, rng)
    rate = something(s.rate, n / length(clients))
    drawn = [rand(rng, Float64) < rate for _ in 1:length(clients)]     # for those too who aren't there: no draw depends on them
    return [k for k in there if drawn[k]]
end

"""
    WeightedSampling()

`n` different clients, one after the other, each with a probability in proportion to its number of samples among those left;
drawn at once by Efraimidis & Spirakis's keys (2006, Inf. Process. Lett. 97(5)). With `weights = "uniform"` this is close to
scheme I of Li et al. 2020 (arXiv:1907.02189), which draws with replacement; with the default weights, large clients count twice.

```julia
clients = Clients(zeros(Float32, 1, 4), zeros(4), [[1], [2, 3, 4]])
FedFlux.draw(FedFlux.WeightedSampling(), 1:2, clients, 1, 1, Stream(0, :cohort, 1))   # [2], three times out of four
```
"""
struct WeightedSampling <: Sampling end

construct(::Val{:sampling}, ::Val{:weighted}) = WeightedSampling()

function draw(::WeightedSampling, there, clients, n, round, rng)
    keys = [log(1 - rand(rng, Float64)) / nsamples(clients, k) for k in 1:length(clients)]
    return partialsort(there, 1:min(n, length(there)); by = k -> keys[k], rev = true)
end

"""
    RoundRobin()

Clients 1 to `n` in the first round, the next `n` in the second, and so on in a circle; who isn't there loses the turn.

```julia
FedFlux.draw(FedFlux.RoundRobin(), 1:5, Clients(zeros(Float32, 1, 5), zeros(5), [[k] for k in 1:5]), 2, 3, nothing)   # [5, 1]
```
"""
struct RoundRobin <: Sampling end

construct(::Val{:sampling}, ::Val{:round_robin}) = RoundRobin()

draw(::RoundRobin, there, clients, n, round, rng) =
    filter!(k -> insorted(k, there), [mod1((round - 1) * n + i, length(clients)) for i in 1:n])

"""
    Availability

Who is there in a round: `available(a, N, round, rng)` gives a sorted list of clients out of 1:N. Nobody may be there: such a
round changes nothing.
"""
abstract type Availability end

"    Always()\n\nEvery client is there in every round."
struct Always <: Availability end

construct(::Val{:availability}, ::Val{:always}) = Always()

available(::Always, N, round, rng) = 1:N

"""
    RandomlyThere(p)

Each client is there with probability `p` in each round, independently of the others and of other rounds.
"""
struct RandomlyThere <: Availability
    p::Float64
end

construct(::Val{:availability}, ::Val{:random}; p) = RandomlyThere(p)

available(a::RandomlyThere, N, round, rng) = [k for k in 1:N if rand(rng, Float64) < a.p]

"""
    Trace(there)
    Trace(path)

Clients are there by a record: `there` is a (clients, rounds) matrix of Bool, begun anew after its last round. In a file a line
is a round and holds a 0 or 1 for each client, with or without commas or blanks between them. Throws a [`FedFluxError`](@ref)
for a file that is missing or doesn't read so.

```julia
FedFlux.available(FedFlux.Trace(Bool[1 0; 1 1]), 2, 2, nothing)   # [2]
```
"""
struct Trace <: Availability
    there::Matrix{Bool}
end

construct(::Val{:availability}, ::Val{:trace}; path) = Trace(path)

function Trace(path::AbstractString)
    isfile(path) || fail("availability trace: there is no file ", path, "; expected lines of 0 and 1, a line for each round")
    lines = filter(!isempty, [replace(line, r"[\s,;]" => "") for line in eachline(path)])
    isempty(lines) && fail("availability trace: ", path, " is empty; expected a line of 0 and 1 for each round")
    for (i, line) in enumerate(lines)
        bad = findfirst(!in("01"), line)
        bad === nothing || fail("availability trace: line ", i, " of ", path, " contains ", repr(line[bad]), "; expected 0 and 1")
        length(line) == length(lines[1]) ||
            fail("availability trace: line ", i, " of ", path, " is for ", length(line), " clients and line 1 for ",
                 length(lines[1]), "; expected the same")
    end
    return Trace([line[k] == '1' for k in 1:length(lines[1]), line in lines])
end

function available(a::Trace, N, round, rng)
    size(a.there, 1) == N || fail("the availability trace is for ", size(a.there, 1), " clients, and there are ", N)
    return findall(view(a.there, :, mod1(round, size(a.there, 2))))
end

"""
    draw_cohort(sampling, availability, clients, n, seed, round)

The clients that take part in a round, in rising order. Depends on `(seed, round)` alone.

```julia
clients = Clients(zeros(Float32, 1, 100), zeros(100), [[k] for k in 1:100])
FedFlux.draw_cohort(FedFlux.UniformSampling(), FedFlux.Always(), clients, 10, 0, 1)
```
"""
function draw_cohort(sampling::Sampling, availability::Availability, clients, n, seed, round)
    there = available(availability, length(clients), round, Stream(seed, :availability, round))
    isempty(there) && return Int[]
    return sort!(draw(sampling, there, clients, n, round, Stream(seed, :cohort, round)))
end

# FedBuff: Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, arXiv:2106.06639, Algorithm 1.

"""
    FedBuff(; concurrency = 10, spread = 1)

Asynchronous federation, with simulated speeds of the clients. `concurrency` clients train at any time, each on the model as it
was when it began. As soon as one has ended another begins; when `clients_per_round` updates are there, the server takes the
step `θ ← θ + 1/K Σ Δₖ/√(1 + τₖ)`, where the staleness τₖ counts the steps taken since the client began: that is a round
here. A client needs a time in proportion to its samples and to `exp(spread·z)`, with a normal z of its own.
With all speeds the same (`spread = 0`, shares of one size) and `concurrency` equal to `clients_per_round` nothing is stale.

Clients begin in random order, whoever is idle; `sampling` and `availability` don't apply. Holds up to `concurrency` models. The
paper's mean has equal weights (`weights = :uniform`). Nguyen et al., arXiv:2106.06639, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedBuff(concurrency = 4),), weights = :uniform)
```
"""
Base.@kwdef struct FedBuff <: Rule
    concurrency::Int = 10
    spread::Float64 = 1.0
end

construct(::Val{:rule}, ::Val{:fedbuff}; parameters...) = FedBuff(; parameters...)

"A client that trains: since which round of the server, until when, and on which model. Plain data, as checkpoints keep it."
const Underway = @NamedTuple{client::Int, round::Int, finish::Float64, θ::Vector{Float32}, stats::Vector{Float32}}

# The simulated clock, how many have begun, the server's round, and who trains now.
init(::FedBuff, θ) = ((; clock = 0.0, begun = 0, round = 0, underway = Underway[]), nothing)

function client!(r::FedBuff, s, u, ctx)
    staleness = s.shared.round - (ctx.round - 1)
    return nothing, map(v -> v .* (1 / sqrt(1.0f0 + staleness)), u)
end

"How long client k trains: its samples by its speed, which stays the same."
duration(r::FedBuff, clients, k, seed) = nsamples(clients, k) * exp(r.spread * normal!(Stream(seed, :availability, 0, k)))

"""
    arrivals(r::FedBuff, s, st, clients, n, seed) -> (s, arrived)

Let the simulated time run until `n` clients have ended; gives the new state and who they are, in order of arrival. Nobody is
twice among them.
"""
function arrivals(r::FedBuff, s, st, clients, n, seed)
    (; clock, begun) = s
    underway, arrived = copy(s.underway), Underway[]
    θ, stats = copy(st.θ), copy(st.stats)
    while length(arrived) < n
        idle = setdiff(1:length(clients), (c.client for c in underway), (c.client for c in arrived))
        while length(underway) < r.concurrency && !isempty(idle)
            begun += 1
            k = popat!(idle, 1 + below!(Stream(seed, :cohort, 0, begun), length(idle)))
            push!(underway, (; client = k, st.round, finish = clock + duration(r, clients, k, seed), θ, stats))
        end
        i = argmin([c.finish for c in underway])
        clock = underway[i].finish
        push!(arrived, popat!(underway, i))
    end
    return (; clock, begun, st.round, underway), arrived
end

"""
    async_round!(f, st, clients, n; crew, root = nothing) -> (cohort, metrics)

The round of a federation whose rules hold a [`FedBuff`](@ref): the next `n` arrivals, each trained from the model that it began
with, and the server's step.
"""
function async_round!(f::Federated, st::State, clients::Clients, n; crew, root = nothing)
    i = findfirst(r -> r isa FedBuff, f.rules)
    shared, arrived = arrivals(f.rules[i], st.shared[i], st, clients, n, f.seed)
    seen = Base.setindex(st.shared, shared, i)
    begin_from = Dict(c.client => State(c.round, c.θ, c.stats, seen, st.private, st.server, st.aggregator) for c in arrived)
    cohort = [c.client for c in arrived]
    _, metrics = round!(f, st, clients, cohort; crew, root, begin_from)
    st.shared = Base.setindex(st.shared, shared, i)
    return cohort, metrics
end

isasync(rules::Tuple) = any(r -> r isa FedBuff, rules)

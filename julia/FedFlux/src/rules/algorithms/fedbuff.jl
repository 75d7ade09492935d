# FedBuff: Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation,
# arXiv:2106.06639, Algorithm 1.

"""
Asynchronous federation on a simulated clock: `concurrency` clients train at any time, whose
speeds have the `spread`.
"""
abstract type Asynchronous <: Rule end

"""
    FedBuff(; concurrency = 10, spread = 1)

Asynchronous federation, with simulated speeds of the clients. `concurrency` clients train
at any time, each on the model as it was when it started. As soon as one finishes, another
starts; when `clients_per_round` updates have arrived, the server takes the step
`θ ← θ + 1/K Σ Δₖ/√(1 + τₖ)`, where the staleness τₖ counts the steps taken since the client
started. One such step is a round.

A client's time is proportional to its number of samples and to `exp(spread·z)`, with a
standard normal z of its own. With equal speeds (`spread = 0`, shares of one size) and
`concurrency` equal to `clients_per_round` nothing is stale.

Clients start in random order, among those that are idle; `sampling` and `availability`
don't apply. Holds up to `concurrency` models. The paper's mean has equal weights
(`weights = :uniform`).

Nguyen et al., arXiv:2106.06639, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedBuff(concurrency = 4),), weights = :uniform)
```
"""
Base.@kwdef struct FedBuff <: Asynchronous
    concurrency::Int = 10
    spread::Float64 = 1.0
end

"""
A client that is training: since which round of the server, until when, and on which model.
Plain data, as checkpoints store it.
"""
const Underway = @NamedTuple{
    client::Int, round::Int, finish::Float64, θ::Vector{Float32}, stats::Vector{Float32}}

# The simulated clock, how many clients have started, the server's round, and who trains
# now.
init(::Asynchronous, θ) =
    ((; clock = 0.0, begun = 0, round = 0, underway = Underway[]), nothing)

"What an arriving client meets of the server's state."
at_arrival(::Asynchronous, shared, st) = shared

"The number of steps that the server has taken since the client started."
staleness(s, ctx) = s.shared.round - (ctx.round - 1)

function client!(r::FedBuff, s, u, ctx)
    scale(v) = v .* (1 / sqrt(1.0f0 + staleness(s, ctx)))
    return nothing, Update(map(scale, u.vectors), scale(u.stats), u.metrics)
end

# FedAsync: Xie, Koyejo, Gupta, Asynchronous Federated Optimization, arXiv:1903.03934,
# Algorithm 1.

"""
    FedAsync(; alpha = 0.6, a = 0.5, b = nothing, concurrency = 10, spread = 1)

Asynchronous federation without a buffer: whenever a client finishes, the server mixes its
model wₖ into the global one, the less of it the staler it is,

    θ ← (1 − α_τ) θ + α_τ wₖ,      α_τ = α (1 + τ)^(−a),

where the staleness τ counts the server's steps since the client started. With `b` the
mixing is the paper's hinge: `α_τ = α` up to τ = b, and `α/(a (τ − b) + 1)` beyond. `a = 0`
without `b` is its constant one.

The paper has `clients_per_round = 1`. With more, the server takes the mean of their steps.
`concurrency` and `spread` are those of [`FedBuff`](@ref), and so is the simulated clock.
The paper's pull to the model that a client began with is [`FedProx`](@ref).

Xie, Koyejo, Gupta, arXiv:1903.03934, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedAsync(concurrency = 4), FedProx(mu = 0.1)))
```
"""
Base.@kwdef struct FedAsync <: Asynchronous
    alpha::Float32 = 0.6
    a::Float32 = 0.5
    b::Union{Nothing,Float32} = nothing
    concurrency::Int = 10
    spread::Float64 = 1.0
end

"The share of a model of staleness `τ`."
mixing(r::FedAsync, τ) =
    r.b === nothing ? r.alpha * (1 + Float32(τ))^(-r.a) :
    r.alpha / (τ <= r.b ? 1.0f0 : r.a * (τ - r.b) + 1)

# What a client sends is its model. The step from the server's own, as it is by then, is
# made where both are at hand.
at_arrival(::FedAsync, shared, st) = (; shared..., st.θ)

function client!(r::FedAsync, s, u, ctx)
    α = mixing(r, staleness(s, ctx))
    now = get(s.shared, :θ, ctx.θ)
    delta = @. α * (u.delta + ctx.θ - now)
    return nothing, Update(u; delta, stats = α .* u.stats)
end

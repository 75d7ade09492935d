# FedADMM: Gong, Li, Freris, FedADMM: A Robust Federated Deep Learning Framework with
# Adaptivity to System Heterogeneity, arXiv:2204.03529, Algorithm 1.

"""
    FedADMM(; rho = 0.01, eta = nothing)

The alternating direction method of multipliers: each client has a dual variable αₖ, and
sends how its *augmented* model `uₖ = wₖ + αₖ/ρ` changed since it last took part:

    gₖ ← gₖ + αₖ + ρ (w − θ),      αₖ ← αₖ + ρ (wₖ − θ),
    θ ← θ + η · mean(uₖ⁺ − uₖ).

uₖ starts as the initial model. `eta` is the server's step; by default the cohort's share
of all weights, for which θ stays the weighted mean of all uₖ (the paper's |S|/m). A
larger one is faster, as in the paper's experiments with η = 1. Each client keeps two
vectors as long as the model. What a compressor leaves out is in the client's next message.

Gong et al., arXiv:2204.03529, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedADMM(rho = 0.1),))
```
"""
Base.@kwdef struct FedADMM <: Rule
    rho::Float32 = 0.01
    eta::Union{Nothing,Float32} = nothing
end

# The server keeps the initial model, from which every uₖ starts.
init(::FedADMM, θ) = (copy(θ), nothing)

# A new client takes the model of now as its uₖ, and says so: the server knows the rest.
receive!(::FedADMM, s, m, ctx, own) =
    something(s.private, (; dual = zero(ctx.θ), u = copy(ctx.θ), new = [1.0f0]))

correct!(r::FedADMM, s, g, w, ctx) = @. g += s.private.dual + r.rho * (w - ctx.θ)

function client!(r::FedADMM, s, update, ctx)
    (; dual, u, new) = s.private
    dual = @. dual + r.rho * update.delta
    delta = @. ctx.θ + update.delta + dual / r.rho - u
    return (; dual, u, new = [0.0f0]), Update(update; delta, metrics = (; new))
end

sent(::FedADMM, s, private, update, ctx) =
    (; private..., u = private.u .+ decoded(update.delta))

nobody_sent(::FedADMM, u) = Update(u; metrics = (; new = [0.0f0]))

function server!(r::FedADMM, s, ū, ctx)
    eta = something(r.eta, Float32(ctx.share))
    new = only(ū.metrics.new)
    return s.shared, Update(ū; delta = @. eta * (ū.delta + new * (ctx.θ - s.shared)))
end

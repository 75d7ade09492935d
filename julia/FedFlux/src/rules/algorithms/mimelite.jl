# MimeLite: Karimireddy et al., Mime: Mimicking Centralized Stochastic Algorithms in
# Federated Learning, arXiv:2008.03606, Algorithm 1.

"""
    MimeLite(; beta = 0.9)

Momentum that belongs to the server: clients apply it in every step and do not change it,

    w ← w − η ((1 − β) gₖ + β m),      m ← (1 − β) ḡ(θ) + β m,

where ḡ is the mean of the cohort's full gradients at θ. m starts as zero; `beta = 0` is
FedAvg. Costs one more pass over the data per round, and sends twice as much as FedAvg in
both directions. [`Mime`](@ref) also corrects each step by ḡ(θ), which takes another
exchange. Throws a [`FedFluxError`](@ref) for clients that don't train with plain SGD.

Karimireddy et al., arXiv:2008.03606, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (MimeLite(beta = 0.9),))
```
"""
Base.@kwdef struct MimeLite <: ServerDirection
    beta::Float32 = 0.9
end

receive!(::MimeLite, s, m, ctx, own) = full_gradient!(similar(m.w), own, m)

correct!(r::MimeLite, s, g, w, ctx) = @. g = (1 - r.beta) * g + r.beta * s.shared

client!(::MimeLite, s, u, ctx) = (nothing, Update(u; gradient = s.private))

nobody_sent(::MimeLite, u) = Update(u; gradient = zero(u.delta))

server!(r::MimeLite, s, ū, ctx) =
    ((1 - r.beta) .* ū.gradient .+ r.beta .* s.shared, ū)

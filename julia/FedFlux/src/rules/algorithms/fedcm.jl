# FedCM: Xu, Wang, Wang, Yao, FedCM: Federated Learning with Client-level Momentum,
# arXiv:2106.10874, Algorithm 2.

"""
    FedCM(; alpha = 0.1)

Clients step along a mix of their own gradient and the direction of the last round, m:

    gₖ ← α gₖ + (1 − α) m,      m ← −Δ̄/(K η),

where K is the clients' (mean) number of steps and η their learning rate. m is zero in the
first round. Clients keep nothing, so the rule suits clients that take part once. `alpha =
1` is FedAvg. Sends twice as much as FedAvg to the clients. Throws a [`FedFluxError`](@ref)
for clients that don't train with plain SGD.

Xu et al., arXiv:2106.10874, Algorithm 2.

```julia
Federated(softmax_regression(4, 2); rules = (FedCM(alpha = 0.1),))
```
"""
Base.@kwdef struct FedCM <: ServerDirection
    alpha::Float32 = 0.1
end

correct!(r::FedCM, s, g, w, ctx) = @. g = r.alpha * g + (1 - r.alpha) * s.shared

client!(::FedCM, s, u, ctx) =
    (nothing, Update(u; metrics = (; steps = [Float32(ctx.steps)])))

nobody_sent(::FedCM, u) = Update(u; metrics = (; steps = [0.0f0]))

function server!(::FedCM, s, ū, ctx)
    work = only(ū.metrics.steps) * ctx.lr
    return (work > 0 ? ū.delta ./ -work : s.shared), ū
end

# FedExP: Jhunjhunwala, Wang, Joshi, FedExP: Speeding Up Federated Averaging via
# Extrapolation, arXiv:2301.09604, Algorithm 1.

"""
    FedExP(; eps = 1e-3)

The server takes a longer step, the more the clients disagree:

    θ ← θ + η Δ̄,      η = max(1, Σ pₖ ‖Δₖ‖² / (2 (‖Δ̄‖² + ε))).

Each client tells the squared norm of what it sends. The paper has equal weights
(`weights = :uniform`), chooses ε among 0.001 to 0.1, and evaluates the mean of the last
two models, because a step may overshoot; here the model is the last one.

Jhunjhunwala et al., arXiv:2301.09604, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedExP(),), weights = :uniform)
```
"""
Base.@kwdef struct FedExP <: Rule
    eps::Float32 = 1e-3
end

squares(v) = Float32(sum(abs2, v; init = 0.0f0))

# Behind compression: the norms on both sides are those of what was sent.
client!(::FedExP, s, u, ctx) =
    (nothing, Update(u; metrics = (; squares = [squares(decoded(u.delta))])))

nobody_sent(::FedExP, u) = Update(u; metrics = (; squares = [0.0f0]))

function server!(r::FedExP, s, ū, ctx)
    lr = only(ū.metrics.squares) / (2 * (squares(ū.delta) + r.eps))
    return nothing, lr > 1 ? Update(ū; delta = lr .* ū.delta) : ū
end

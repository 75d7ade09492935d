# FedDyn: Acar et al., Federated Learning Based on Dynamic Regularization, arXiv:2111.04263,
# Algorithm 1.

"""
    FedDyn(; alpha = 0.1)

Each client minimizes `Fₖ(w) − ⟨∇ₖ, w⟩ + α/2 ‖w − θ‖²`, where ∇ₖ is the gradient at which
its last round ended, so that the optima of the clients agree with the global one:

    ∇ₖ ← ∇ₖ − α (w − θ),      h ← h − α P · mean(w − θ),      θ ← mean(w) − h/α,

where P is the cohort's share of all weights, n/N for the paper's equal weights. Each client
keeps a vector as long as the model. `w − θ` is what the server decodes, so h stays the
weighted mean of the ∇ₖ, but for the noise that a server with privacy adds.

Acar et al., arXiv:2111.04263, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedDyn(alpha = 0.1),))
```
"""
Base.@kwdef struct FedDyn <: Rule
    alpha::Float32 = 0.1
end

init(::FedDyn, θ) = (zero(θ), zero(θ))

correct!(r::FedDyn, s, g, w, ctx) = @. g += r.alpha * (w - ctx.θ) - s.private

# ∇ₖ follows what is sent, which the server's h follows too.
sent(r::FedDyn, s, private, u, ctx) = s.private .- r.alpha .* decoded(u.delta)

function server!(r::FedDyn, s, ū, ctx)
    h = s.shared .- (r.alpha * Float32(ctx.share)) .* ū.delta
    return h, Update(ū; delta = ū.delta .- h ./ r.alpha)
end

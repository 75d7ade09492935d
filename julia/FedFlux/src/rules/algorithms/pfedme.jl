# pFedMe: Dinh, Tran, Nguyen, Personalized Federated Learning with Moreau Envelopes,
# arXiv:2006.08848, Algorithm 1.

"""
    PFedMe(; lam = 15, inner_steps = 5, inner_lr = 0.01, beta = 1)

Minimizes the clients' Moreau envelopes, `Σ pₖ minᵥ Fₖ(v) + λ/2 ‖v − w‖²`.
For each batch a client takes `inner_steps` steps on its personal model v, and then one step
on w towards it:

    v ← v − inner_lr (∇Fₖ(v; batch) + λ (v − w)),
    w ← w − η λ (w − v).

v starts each round as the global model, and goes on from batch to batch. The server takes
`θ ← θ + β Δ̄`. η is the clients' learning rate; `η λ` should be at most 1. Costs
`inner_steps + 1` gradients per step.

Dinh et al., arXiv:2006.08848, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (PFedMe(lam = 15),))
```
"""
Base.@kwdef struct PFedMe <: Rule
    lam::Float32 = 15
    inner_steps::Int = 5
    inner_lr::Float32 = 0.01
    beta::Float32 = 1
end

personalises(::PFedMe) = true

receive!(::PFedMe, s, m, ctx, own) = (; w = copy(m.w), gradient = similar(m.w))

function correct!(r::PFedMe, s, g, w, ctx)
    v, gradient = s.private.w, s.private.gradient
    for _ = 1:r.inner_steps
        ctx.regrad!(gradient, v)
        @. v -= r.inner_lr * (gradient + r.lam * (v - w))
    end
    return @. g = r.lam * (w - v)
end

client!(::PFedMe, s, u, ctx) = ((; s.private.w, stats = copy(ctx.stats)), u)

server!(r::PFedMe, s, ū, ctx) =
    (s.shared, r.beta == 1 ? ū : Update(ū; delta = r.beta .* ū.delta))

personal!(::PFedMe, private, m) = copy_personal!(m, private)

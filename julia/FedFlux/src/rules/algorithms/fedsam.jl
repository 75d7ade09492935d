# FedSAM: Caldarola, Caputo, Ciccone, Improving Generalization in Federated Learning by
# Seeking Flat Minima, arXiv:2203.11834; Qu et al., Generalized Federated Learning via
# Sharpness Aware Minimization, arXiv:2206.02618, Algorithm 1.

"""
    FedSAM(; rho = 0.05, adaptive = false)

Sharpness-aware minimization on the clients: each step takes the gradient of its batch from
where the loss is (nearly) highest within the radius ρ,

    g ← ∇Fₖ(w + ρ g/‖g‖),

so that clients look for flat minima. `adaptive` is ASAM, whose radius has the scale of each
parameter: `w + ρ w² ⊙ g/‖w ⊙ g‖`. `rho = 0` is FedAvg. With [`FedCM`](@ref) it is
MoFedSAM (arXiv:2206.02618, Algorithm 2). Costs two gradients per step.

Caldarola et al., arXiv:2203.11834; Qu et al., arXiv:2206.02618, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedSAM(rho = 0.05),))
Federated(softmax_regression(4, 2); rules = (FedSAM(), FedCM()))     # MoFedSAM
```
"""
Base.@kwdef struct FedSAM <: Rule
    rho::Float32 = 0.05
    adaptive::Bool = false
end

# The point where the gradient is taken, in memory for one round.
receive!(::FedSAM, s, m, ctx, own) = similar(ctx.θ)

function correct!(r::FedSAM, s, g, w, ctx)
    ahead = s.private
    r.adaptive ? (@. ahead = w * g) : copyto!(ahead, g)
    radius = r.rho / max(norm(ahead), 1.0f-12)
    r.adaptive ? (@. ahead = w + radius * w * ahead) : (@. ahead = w + radius * ahead)
    ctx.regrad!(g, ahead)
    return g
end

client!(::FedSAM, s, u, ctx) = (nothing, u)

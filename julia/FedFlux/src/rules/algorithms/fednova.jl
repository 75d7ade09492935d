# FedNova: Wang et al., Tackling the Objective Inconsistency Problem, arXiv:2007.07481, equations 7 to 10.

"""
    FedNova()

Normalised averaging: a client that took more steps does not count more. Each update is divided by the size of its local
work, `‖aₖ‖₁`, and the server multiplies their mean by the mean size:

    θ ← θ + (Σ pₖ ‖aₖ‖₁) · Σ pₖ Δₖ/‖aₖ‖₁.

For SGD `‖aₖ‖₁ = τₖ`, the number of steps; for momentum ρ, `(τ − ρ(1 − ρ^τ)/(1 − ρ))/(1 − ρ)`. Throws a
[`FedFluxError`](@ref) for other optimisers, for which the paper gives no size. Wang et al., arXiv:2007.07481.

```julia
Federated(softmax_regression(4, 2); rules = (FedNova(),))
```
"""
struct FedNova <: Rule end

construct(::Val{:rule}, ::Val{:fednova}) = FedNova()

prepare(r::FedNova, layout, training) = (localwork(training.optimizer, 1); r)

"The size ‖a‖₁ of `steps` local steps, in gradients."
localwork(::Optimisers.Descent, steps) = Float32(steps)
localwork(o::Optimisers.Momentum, steps) = Float32((steps - o.rho * (1 - o.rho^steps) / (1 - o.rho)) / (1 - o.rho))
localwork(o, steps) = fail("rule FedNova needs clients that train by sgd or momentum; their optimiser is ", nameof(typeof(o)))

function client!(::FedNova, s, u, ctx)
    a = localwork(ctx.optimizer, ctx.steps)
    return nothing, (; u..., delta = u.delta ./ a, work = [a])
end

server!(::FedNova, s, ū, ctx) = (nothing, (; ū..., delta = ū.delta .* ū.work))

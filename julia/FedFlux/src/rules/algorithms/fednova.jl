# FedNova: Wang et al., Tackling the Objective Inconsistency Problem, arXiv:2007.07481,
# equations 7 to 10.

"""
    FedNova()

Normalized averaging: a client that took more steps does not count more. Each update is
divided by the amount of its local work, `‖aₖ‖₁`, and the server multiplies their
mean by the mean amount:

    θ ← θ + (Σ pₖ ‖aₖ‖₁) · Σ pₖ Δₖ/‖aₖ‖₁.

For SGD `‖aₖ‖₁ = τₖ`, the number of steps; for momentum ρ,
`m = (τ − ρ(1 − ρ^τ)/(1 − ρ))/(1 − ρ)`. For Nesterov's it is `τ + ρ m`,
since each of its steps is the gradient and ρ times the step with momentum. Weight decay
and clipping make other gradients, and change no amount. Throws a [`FedFluxError`](@ref)
for other optimizers, for which the paper gives no amount.

Wang et al., arXiv:2007.07481, equations 7 to 10.

```julia
Federated(softmax_regression(4, 2); rules = (FedNova(),))
```
"""
struct FedNova <: Rule end

prepare(r::FedNova, layout, training) = (local_work(training.optimizer, 1); r)

"The amount ‖a‖₁ of `steps` local steps, in gradients."
local_work(::Optimisers.Descent, steps) = Float32(steps)
local_work(o::Optimisers.Momentum, steps) =
    Float32((steps - o.rho * (1 - o.rho^steps) / (1 - o.rho)) / (1 - o.rho))
local_work(o::NesterovMomentum, steps) =
    Float32(steps + o.rho * local_work(Optimisers.Momentum(o.eta, o.rho), steps))
local_work(::Union{ClipGradientNorm,Optimisers.WeightDecay}, steps) = nothing
local_work(o, steps) = refuse_optimizer("FedNova", "that train with sgd or momentum", o)

function local_work(chain::Optimisers.OptimiserChain, steps)
    amounts = filter(!isnothing, map(o -> local_work(o, steps), chain.opts))
    return length(amounts) == 1 ? only(amounts) :
           refuse_optimizer("FedNova", "that train with sgd or momentum", chain)
end

function client!(::FedNova, s, u, ctx)
    a = local_work(ctx.optimizer, ctx.steps)
    return nothing, Update(u; delta = u.delta ./ a, metrics = (; work = [a]))
end

nobody_sent(::FedNova, u) = Update(u; metrics = (; work = [0.0f0]))

server!(::FedNova, s, ū, ctx) = (nothing, Update(ū; delta = ū.delta .* ū.metrics.work))

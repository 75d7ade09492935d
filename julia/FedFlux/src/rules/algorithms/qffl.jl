# q-FFL: Li et al., Fair Resource Allocation in Federated Learning, arXiv:1905.10497,
# Algorithm 2 (q-FedAvg).

"""
    QFFL(; q = 1)

Fairness: minimizes `Σ pₖ Fₖ(w)^(q+1)/(q+1)`, so clients with a higher loss count more. With
Fₖ the client's loss at θ and L = 1/lr,

    θ ← θ + Σ pₖ Fₖ^q L Δₖ / Σ pₖ hₖ,      hₖ = q Fₖ^(q−1) ‖L Δₖ‖² + L Fₖ^q.

`q = 0` is FedAvg; a larger q makes the losses more uniform. Costs one more pass over the
data per round.

Li et al., arXiv:1905.10497, Algorithm 2.

```julia
Federated(softmax_regression(4, 2); rules = (QFFL(q = 1),))
```
"""
Base.@kwdef struct QFFL <: Rule
    q::Float32 = 1
end

function prepare(r::QFFL, layout, training)
    learning_rate(training.optimizer) === nothing &&
        refuse_optimizer("QFFL", "with a learning rate", training.optimizer)
    return r
end

# A loss of zero has no power below zero.
receive!(::QFFL, s, m, ctx, own) = max(Float32(meanloss(own, m)), 1.0f-10)

function client!(r::QFFL, s, u, ctx)
    ctx.lr == 0 && return nothing, Update(u; metrics = (; h = [1.0f0]))     # no step
    F, L = s.private, 1 / ctx.lr
    h = r.q * F^(r.q - 1) * L^2 * sum(abs2, u.delta) + L * F^r.q
    return nothing, Update(u; delta = (L * F^r.q) .* u.delta, metrics = (; h = [h]))
end

nobody_sent(::QFFL, u) = Update(u; metrics = (; h = [0.0f0]))

server!(::QFFL, s, ū, ctx) = (nothing, Update(ū; delta = ū.delta ./ ū.metrics.h))

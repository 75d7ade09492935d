# FedSGD: McMahan et al., Communication-Efficient Learning of Deep Networks,
# arXiv:1602.05629, section 2.

"""
    FedSGD()

Gradient aggregation: each client sends one gradient over all of its data, `gₖ = ∇Fₖ(θ)`,
and the server steps along the mean, `θ ← θ − η Σ pₖ gₖ`, with the clients' learning rate η.
The gradient is computed in batches, so the data need not fit into one. Throws a
[`FedFluxError`](@ref) if clients should make more than one pass.

McMahan et al., arXiv:1602.05629, section 2.

```julia
Federated(softmax_regression(4, 2); rules = (FedSGD(),), optimizer = Descent(0.5))
```
"""
struct FedSGD <: Rule end

function prepare(r::FedSGD, layout, training)
    check_sgd("FedSGD", training)
    one_pass =
        training.epochs == 1 &&
        training.maxsteps == training.samples_per_epoch == typemax(Int)
    one_pass || fail("rule FedSGD makes one pass over a client's data: expected ",
        "local_epochs = 1, and neither local_steps nor samples_per_epoch")
    return r
end

receive!(::FedSGD, s, m, ctx, own) = zero(ctx.θ)

function correct!(::FedSGD, s, g, w, ctx)
    @. s.private += g * Float32(ctx.batch / ctx.samples)
    return fill!(g, 0)       # the parameters stay where they are
end

client!(::FedSGD, s, u, ctx) = (nothing, Update(u; delta = -ctx.lr .* s.private))

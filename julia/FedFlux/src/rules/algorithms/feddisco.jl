# FedDisco: Ye et al., FedDisco: Federated Learning with Discrepancy-Aware Collaboration,
# arXiv:2305.19229, Algorithm 1.

"""
    FedDisco(; a = 0.5, b = 0.1)

Weighs clients by how near their mix of labels is to a uniform one, too:

    θ ← θ + Σ p̃ₖ Δₖ / Σ p̃ₖ,      p̃ₖ = max(pₖ − a dₖ/n + b, 0),

with pₖ the client's share of the cohort's weights, n the size of the cohort, and
dₖ = ‖Dₖ − 1/C‖₂, where Dₖ are its shares of the C labels. The authors' code also takes
other distances, such as the Kullback–Leibler divergence, over their sum, which has the
scale of the shares; here it is 1/n that gives dₖ this scale. Clients tell the server dₖ. If
no client is left, the model stays. `a = 0, b = 0` is FedAvg. Needs cross-entropy on integer
labels. Throws a [`FedFluxError`](@ref) for a model that doesn't end with a linear Dense
layer with a bias.

Ye et al., arXiv:2305.19229, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedDisco(a = 0.5, b = 0.1),))
```
"""
struct FedDisco <: Rule
    a::Float32
    b::Float32
    classes::Int
end
FedDisco(; a = 0.5, b = 0.1) = FedDisco(a, b, 0)

check_model(r::FedDisco, model) = check_linear_end(r, model)

prepare(r::FedDisco, layout, training) =
    FedDisco(r.a, r.b, length(output_layer("FedDisco", layout).bias))

function receive!(r::FedDisco, s, m, ctx, own)
    n = label_counts(own, r.classes)
    return Float32(norm(n ./ sum(n) .- 1 / r.classes))
end

client!(::FedDisco, s, u, ctx) =
    (nothing, Update(u; metrics = (; distance = [s.private])))

nobody_sent(::FedDisco, u) = Update(u; metrics = (; distance = [0.0f0]))

sees_each(::FedDisco) = true

# The aggregator weighs by ctx.weight, so everything is multiplied by the quotient of both
# weights; its mean is the sum of the new ones, over that of the old ones.
function each!(r::FedDisco, s, u, ctx)
    d = clamp(only(u.metrics.distance), 0.0f0, 1.0f0)       # whatever a client claims
    p = max(Float32(ctx.share) - r.a * d / ctx.n + r.b, 0.0f0)
    quotient = ctx.weight > 0 ? p / Float32(ctx.share) : 0.0f0
    return nothing,
    Update(u; delta = quotient .* u.delta, metrics = (; quotient = [quotient]))
end

function server!(::FedDisco, s, ū, ctx)
    sum = only(ū.metrics.quotient)
    return nothing, Update(ū; delta = sum > 0 ? ū.delta ./ sum : zero(ū.delta))
end

# AFL: Mohri, Sivek, Suresh, Agnostic Federated Learning, arXiv:1902.00146, section 4 (Stochastic-AFL).

"""
    AFL(; lr = 0.1)

Agnostic federated learning: minimises the loss of the worst mixture of clients, `min_w max_λ Σ λₖ Fₖ(w)` over the simplex. Each
round the model takes the mean of the updates weighted by λ, and λ steps up along the clients' losses, by `lr`, and back to
the simplex:

    θ ← θ + Σ λₖ Δₖ / Σ λₖ,      λ ← project(λ + lr · N/n · F).

λ begins uniform. Takes the weights' place; costs one more pass over the data a round. Mohri et al., arXiv:1902.00146.

```julia
Federated(softmax_regression(4, 2); rules = (AFL(lr = 0.1),))
```
"""
Base.@kwdef struct AFL <: Rule
    lr::Float32 = 0.1
end

construct(::Val{:rule}, ::Val{:afl}; parameters...) = AFL(; parameters...)

init(::AFL, θ) = (Float32[], nothing)       # λ; empty means uniform, since the number of clients isn't known yet

mixture(λ, N) = isempty(λ) ? fill(1.0f0 / N, N) : λ

receive!(::AFL, s, m, ctx, own) = Float32(meanloss(own, m))

# The aggregator weighs by ctx.weight, so everything is divided by it; `sums` lets the server undo the division by the weights' sum.
function client!(::AFL, s, u, ctx)
    a = isempty(s.shared) ? 1.0f0 / ctx.N : s.shared[ctx.client]
    losses = zeros(Float32, ctx.N)
    losses[ctx.client] = s.private / ctx.weight
    return nothing, (; u..., delta = (a / ctx.weight) .* u.delta, losses, sums = [a, 1.0f0] ./ ctx.weight)
end

function server!(r::AFL, s, ū, ctx)
    λsum, weights = ū.sums[1], ctx.n / ū.sums[2]      # the latter: the sum of the cohort's weights
    delta = λsum > 0 ? ū.delta ./ λsum : zero(ū.delta)
    λ = mixture(s.shared, ctx.N) .+ Float32(r.lr * ctx.N / ctx.n * weights) .* ū.losses
    return project_to_simplex!(λ), (; ū..., delta)
end

"The nearest vector with no negative entries and sum 1 (Duchi et al. 2008, Figure 1)."
function project_to_simplex!(λ)
    shift, total = zero(eltype(λ)), zero(eltype(λ))
    for (j, v) in enumerate(sort(λ; rev = true))
        total += v
        v > (total - 1) / j && (shift = (total - 1) / j)
    end
    return @. λ = max(λ - shift, 0)
end

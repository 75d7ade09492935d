# AFL: Mohri, Sivek, Suresh, Agnostic Federated Learning, arXiv:1902.00146, section 4
# (Stochastic-AFL).

"""
    AFL(; lr = 0.1)

Agnostic federated learning: minimizes the loss of the worst mixture of clients,
`min_w max_λ Σ λₖ Fₖ(w)` over the simplex. Each round the model takes the mean of the
updates weighted by λ, and λ takes a step of size `lr` along the clients' losses, and back
to the simplex:

    θ ← θ + Σ λₖ Δₖ / Σ λₖ,      λ ← project(λ + lr · N/n · F).

λ starts uniform. It replaces the weights of the average. Costs one more pass over the data
per round.

Mohri et al., arXiv:1902.00146, section 4.

```julia
Federated(softmax_regression(4, 2); rules = (AFL(lr = 0.1),))
```
"""
Base.@kwdef struct AFL <: Rule
    lr::Float32 = 0.1
end

# λ; empty means uniform, since the number of clients isn't known yet
init(::AFL, θ) = (Float32[], nothing)

mixture(λ, N) = isempty(λ) ? fill(1.0f0 / N, N) : λ

# A client needs its own λₖ only.
for_client(::AFL, λ, client) = isempty(λ) ? λ : [λ[client]]
own_share(λ, ctx) =
    isempty(λ) ? 1.0f0 / ctx.N : length(λ) == 1 ? only(λ) : λ[ctx.client]

download_bytes(::AFL, s, bytes, ctx) = bytes + sizeof(Float32)      # λₖ

receive!(::AFL, s, m, ctx, own) = Float32(meanloss(own, m))

# The aggregator weighs by ctx.weight, so everything is divided by it; `sums` lets the
# server undo the division by the sum of the weights.
function client!(::AFL, s, u, ctx)
    a = own_share(s.shared, ctx)
    losses = zeros(Float32, ctx.N)
    losses[ctx.client] = s.private / ctx.weight
    metrics = (; losses, sums = [a, 1.0f0] ./ ctx.weight)
    return nothing, Update(u; delta = (a / ctx.weight) .* u.delta, metrics)
end

nobody_sent(::AFL, u, N) =
    Update(u; metrics = (; losses = zeros(Float32, N), sums = zeros(Float32, 2)))

function server!(r::AFL, s, ū, ctx)
    (; losses, sums) = ū.metrics
    λsum, weights = sums[1], ctx.n / sums[2]      # the latter: the sum of the weights
    delta = λsum > 0 ? ū.delta ./ λsum : zero(ū.delta)
    λ = mixture(s.shared, ctx.N) .+ Float32(r.lr * ctx.N / ctx.n * weights) .* losses
    return project_to_simplex!(λ), Update(ū; delta)
end

"The nearest vector without negative entries whose sum is 1 (Duchi et al. 2008, Figure 1)."
function project_to_simplex!(λ)
    shift, total = zero(eltype(λ)), zero(eltype(λ))
    for (j, v) in enumerate(sort(λ; rev = true))
        total += v
        v > (total - 1) / j && (shift = (total - 1) / j)
    end
    return @. λ = max(λ - shift, 0)
end

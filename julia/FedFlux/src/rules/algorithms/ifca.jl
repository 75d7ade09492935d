# IFCA: Ghosh, Chung, Yin, Ramchandran, An Efficient Framework for Clustered Federated
# Learning, arXiv:2006.04088, Algorithm 1 (model averaging).

"""
    IFCA(; clusters = 2)

Clusters of clients with a model each. A client of a round takes the model with the lowest
loss on its own data and trains it, and each model takes the mean of the updates of those
that chose it:

    j = argmin F̂ₖ(θⱼ),      θⱼ ← θⱼ + Σ pₖ Δₖ / Σ pₖ over the k that chose j.

The first model begins as the initial one, and each other one with the values of each of its
arrays in an order of its own. While all models have the same loss, as those of zeros do,
clients spread over the clusters by their numbers. A client's model is that of the cluster
that it chose last (`personal_accuracy`). The global model is the mean of the clusters',
which means little. Running statistics are those of all clients.

The server must know which client chose which model. Costs `clusters` further passes over
the data per round, and as many downloads of a model. Throws a [`FedFluxError`](@ref) for a
server optimizer.

Ghosh et al., arXiv:2006.04088, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (IFCA(clusters = 3),))
```
"""
struct IFCA <: Rule
    clusters::Int
    ranges::Vector{UnitRange{Int}}      # of the arrays
end
IFCA(; clusters = 2) = IFCA(clusters, [])

prepare(r::IFCA, layout, training) = IFCA(r.clusters, [s.range for s in layout.slots])

function init(r::IFCA, θ)
    models = [copy(θ) for _ = 1:r.clusters]
    for j = 2:r.clusters, (i, range) in enumerate(r.ranges)
        shuffle!(Stream(0, :init, j, i), view(models[j], range))
    end
    return models, nothing
end

for_client(::IFCA, models, client) = models

download_bytes(::IFCA, s, bytes, ctx) = bytes - sizeof(ctx.θ) + sum(sizeof, s.shared)

function receive!(r::IFCA, s, m, ctx, own)
    losses = [meanloss(own, (; w, m.stats)) for w in s.shared]
    cluster = allequal(losses) ? mod1(ctx.client, r.clusters) : argmin(losses)
    copyto!(m.w, s.shared[cluster])
    return (; cluster)
end

function client!(r::IFCA, s, u, ctx)
    chosen = zeros32(r.clusters)
    chosen[s.private.cluster] = 1
    return s.private, Update(u; metrics = (; chosen))
end

nobody_sent(r::IFCA, u) = Update(u; metrics = (; chosen = zeros32(r.clusters)))

sees_each(::IFCA) = true

function each!(r::IFCA, s, u, ctx)
    seen = something(
        s.seen,
        (; sums = [zero(ctx.θ) for _ in s.shared],
            weights = zeros(r.clusters))
    )
    j = argmax(u.metrics.chosen)
    axpy!(Float32(ctx.weight), u.delta, seen.sums[j])
    seen.weights[j] += ctx.weight
    return seen, u
end

function server!(::IFCA, s, ū, ctx)
    (; sums, weights) = s.seen
    models = map(s.shared, sums, weights) do θ, sum, weight
        weight > 0 ? θ .+ sum ./ Float32(weight) : θ
    end
    mean = sum(models) ./ Float32(length(models))
    return models, Update(ū; delta = mean .- ctx.θ)
end

personalises(::IFCA) = true
personal!(::IFCA, models, private, m) = (copyto!(m.w, models[private.cluster]); m)

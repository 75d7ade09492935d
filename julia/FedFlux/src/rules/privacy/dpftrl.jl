# DP-FTRL: Kairouz et al., Practical and Private (Deep) Learning without Sampling or
# Shuffling, arXiv:2103.00039, Algorithms 1 and 2.

"""
    DPFTRL(; clip = 1.0, noise_multiplier = 8.0, delta = 1e-5, budget = nothing,
           reproducible = false)

Client-level differential privacy for cohorts that follow from the number of the round, and
need no chance. All that a client sends is clipped to the norm C, by itself and again by the
server, and what has noise is the sum over all rounds so far:

    Δₜ = (Σₖ uₖ·min(1, C/‖uₖ‖) + Nₜ − Nₜ₋₁) / n,    Nₜ = Σ z over the nodes of t,

where n is the expected size of a cohort. The nodes are those of a binary tree over the
rounds that 1 to t fall into: one for each 1 in t's binary digits, such as 1–4, 5–6 and 7
for t = 7. Each has one z from N(0, (zC)² I), so the noise on the sum of t rounds grows like
log t, and not like t.

- `clip`: C, the largest L2 norm of an update: vectors and statistics together.
- `noise_multiplier`: z, that of a node; a client is in up to log₂(t) + 1 nodes, each time
  that it takes part, so it is larger than [`ClientDP`](@ref)'s.
- `delta`: δ, for which the history tells ε after each round.
- `budget`: the ε that a run must not exceed; it ends before.
- `reproducible`: noise from the run's seed, for experiments only: who knows the seed can
  subtract it. Otherwise it comes from a [`SecureRandom`](@ref).

The z of the nodes of the last round stay in the server's state and in checkpoints, and are
as secret as the updates. Needs equal weights (`weights = "uniform"`), the mean, and
`sampling = "round_robin"` or all clients in each round. Throws a [`FedFluxError`](@ref) for
others, for rules that report figures without noise, and for models with BatchNorm.

Kairouz et al., arXiv:2103.00039, Algorithms 1 and 2, without their variance reduction;
the binary tree: Dwork, Naor, Pitassi, Rothblum 2010.

```julia
Federated(softmax_regression(4, 2); rules = (DPFTRL(clip = 0.5),), weights = :uniform)
```
"""
Base.@kwdef struct DPFTRL <: CentralDP
    clip::Float64 = 1.0
    noise_multiplier::Float64 = 8.0
    delta::Float64 = 1e-5
    budget::Union{Nothing,Float64} = nothing
    reproducible::Bool = false
end

prepare(r::DPFTRL, layout, training) = (check_mechanism(r); r)

init(::DPFTRL, θ) = ((; round = 0, nodes = Vector{Float32}[]), nothing)

client!(r::DPFTRL, s, u, ctx) = (nothing, clip_update(u, r.clip))

admitted(r::DPFTRL, shared, u) = clip_update(u, r.clip)     # whatever the client did

function server!(r::DPFTRL, s, ū, ctx)
    sums = exact_sums(ū, ctx)
    nodes, noise = next_noise(s.shared, ctx.round, sum(length, parts(ū)),
        r.noise_multiplier * r.clip, noise_source(r, ctx))
    places = Iterators.Stateful(consecutive(length.(parts(ū))))
    ū = noisy_mean(v -> v .+= view(noise, popfirst!(places)), ū, sums, ctx.expected)
    return (; ctx.round, nodes), ū
end

"""
The nodes of a binary tree over rounds whose rounds together are 1 to `round`, the largest
first.
"""
covering_nodes(round) = consecutive([1 << l for l = 62:-1:0 if isodd(round >> l)])

"""
    next_noise(shared, round, n, σ, rng) -> (nodes, noise)

The noise of `n` numbers of each node that covers `round`, and by how much the sum of these
differs from that of `shared.nodes`, which covers `shared.round`. What both have is neither
drawn again nor subtracted. A round that left the model as it was is a leaf without updates.
"""
function next_noise(shared, round, n, σ, rng)
    before, now = covering_nodes(shared.round), covering_nodes(round)
    kept = count(splat(==), zip(before, now))       # the first ones: nodes lie end to end
    fresh = [add_gaussian!(zeros(Float32, n), σ, rng) for _ = (kept+1):length(now)]
    noise = zeros(Float32, n)
    foreach(z -> noise .+= z, fresh)
    foreach(z -> noise .-= z, shared.nodes[(kept+1):end])
    return [shared.nodes[1:kept]; fresh], noise
end

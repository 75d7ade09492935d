# Client-level differential privacy: McMahan et al., Learning Differentially Private
# Recurrent Language Models, arXiv:1710.06963, Algorithm 1. The adaptive clip: Andrew et
# al., Differentially Private Learning with Adaptive Clipping, arXiv:1905.03871.

"""
    ClientDP(; clip = 1.0, noise_multiplier = 1.0, delta = 1e-5, budget = nothing,
             quantile = nothing, clip_lr = 0.2, count_noise = nothing,
             reproducible = false)

Client-level differential privacy: the model says little about whether a client took part at
all. All that a client sends is clipped to the norm C, by itself and again by the server,
which adds noise to the sum once:

    Δ = (Σₖ uₖ·min(1, C/‖uₖ‖) + N(0, (zC)² I)) / n,

where n is the expected size of a cohort, a public number. Every round that is drawn adds
noise and counts, one without clients too.

- `clip`: C, the largest L2 norm of an update: vectors and statistics together.
- `noise_multiplier`: z.  `delta`: δ, for which the history tells ε after each round.
- `budget`: the ε that a run must not exceed; it ends before.
- `quantile`: γ. With it C adapts, towards the norm that this share of the updates stays
  below: each client also says whether its norm is at most C, and, with b̃ the noisy share
  that says so, `C ← C·exp(−clip_lr·(b̃ − γ))`. `count_noise` is σ_b, the noise on how many
  do (n/20 if it isn't given); the updates get a little more noise, so that
  both together cost what `noise_multiplier` says.
- `reproducible`: noise and cohorts from the run's seed, for experiments only: who knows the
  seed can subtract the noise, and ε is that without amplification by sampling. Otherwise
  both come from a [`SecureRandom`](@ref), and no two runs agree.

Needs equal weights (`weights = "uniform"`), the mean, and cohorts that can be accounted:
`sampling = "poisson"`, `"uniform"` or `"round_robin"`. Throws a [`FedFluxError`](@ref) for
others, for rules that report figures without noise, and for models with BatchNorm.

McMahan et al., arXiv:1710.06963, Algorithm 1; Andrew et al., arXiv:1905.03871, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (ClientDP(clip = 0.5),), weights = :uniform)
```
"""
Base.@kwdef struct ClientDP <: CentralDP
    clip::Float64 = 1.0
    noise_multiplier::Float64 = 1.0
    delta::Float64 = 1e-5
    budget::Union{Nothing,Float64} = nothing
    quantile::Union{Nothing,Float64} = nothing
    clip_lr::Float64 = 0.2
    count_noise::Union{Nothing,Float64} = nothing
    reproducible::Bool = false
end

function prepare(r::ClientDP, layout, training)
    check_mechanism(r)
    r.quantile === nothing || 0 < r.quantile < 1 ||
        fail("rule ClientDP: quantile is ", r.quantile,
            "; expected a number between 0 and 1")
    return r
end

init(r::ClientDP, θ) = ((; r.clip), nothing)

function client!(r::ClientDP, s, u, ctx)
    C, norm = s.shared.clip, total_norm(u)
    clipped = clip_update(u, C, norm)
    r.quantile === nothing && return nothing, clipped
    below = norm <= C ? 0.5f0 : -0.5f0                # a NaN norm is not below
    return nothing, Update(clipped; metrics = (; below = [below]))
end

for_client(::ClientDP, shared, client) = shared

"What the server makes of a round without clients, so that it looks like any other."
nobody_sent(r::ClientDP, u) =
    r.quantile === nothing ? u : Update(u; metrics = (; below = [0.0f0]))

# The bound that ε rests on is the server's: a client may have clipped otherwise, or not.
function admitted(r::ClientDP, shared, u)
    clipped = clip_update(without_bit(u), shared.clip)
    r.quantile === nothing && return clipped
    return Update(clipped; metrics = (; below = clamp.(u.metrics.below, -0.5f0, 0.5f0)))
end

"An update without the bit that has a clip of its own, and noise of its own."
without_bit(u) =
    Update(u.vectors, u.stats, Base.structdiff(u.metrics, NamedTuple{(:below,)}))

function server!(r::ClientDP, s, ū, ctx)
    rng = noise_source(r, ctx)
    C, n, sums = s.shared.clip, ctx.expected, exact_sums(ū, ctx)
    σ = update_noise(r, n) * C
    ū = noisy_mean(v -> add_gaussian!(v, σ, rng), without_bit(ū), sums, n)
    r.quantile === nothing && return s.shared, ū
    below = only(add_gaussian!(copy(sums.metrics.below), count_noise(r, n), rng))
    return (; clip = adapted(r, C, 0.5 + below / n)), ū
end

"The clip after a round in which this share of the clients said that they are below it."
adapted(r::ClientDP, C, below) = C * exp(-r.clip_lr * (below - r.quantile))

count_noise(r::ClientDP, n) = something(r.count_noise, n / 20)

# The count of clients below the clip takes its part of the privacy.
update_noise(r::ClientDP, n) =
    r.quantile === nothing ? r.noise_multiplier :
    update_noise(r.noise_multiplier, count_noise(r, n))

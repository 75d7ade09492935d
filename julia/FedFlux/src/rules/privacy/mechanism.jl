# What the rules with a clip and noise share.

"""
    CentralDP

Rules by which the server, whom the clients trust, adds noise to the sum of clipped updates:
[`ClientDP`](@ref) and [`DPFTRL`](@ref). Their fields are among others `clip`,
`noise_multiplier`, `delta`, `budget` and `reproducible`.
"""
abstract type CentralDP <: Rule end

"Check the settings that rules with a clip and a noise multiplier share."
function check_mechanism(name, clip, noise_multiplier, delta)
    0 < clip < Inf ||
        fail("rule ", name, ": clip is ", clip, "; expected a positive number")
    0 < noise_multiplier < Inf || fail("rule ", name, ": noise_multiplier is ",
        noise_multiplier, "; expected a positive number")
    0 < delta < 1 ||
        fail("rule ", name, ": delta is ", delta, "; expected a number between 0 and 1")
end

function check_mechanism(r::CentralDP)
    name = nameof(typeof(r))
    check_mechanism(name, r.clip, r.noise_multiplier, r.delta)
    r.budget === nothing || r.budget > 0 ||
        fail("rule ", name, ": budget is ", r.budget, "; expected a positive ε")
end

"Where a rule draws its noise from."
noise_source(r, ctx) = r.reproducible ? ctx.rng : SecureRandom()

"""
    exact_sums(ū, ctx) -> (; vectors, stats, metrics)

The sums of the updates' parts, of which `ū` is the mean, in Float64. Noise belongs on
these: rounded to Float32 first, a sum that one huge value dominates would show in its last
digits what the others sent, and no noise hides a rounding that comes before it.
"""
function exact_sums(ū, ctx)
    ū === ctx.mean && ctx.total !== nothing && return ctx.total
    sums(v) = Float64(ctx.n) .* v
    return (; vectors = map(sums, ū.vectors), stats = sums(ū.stats),
        metrics = map(sums, ū.metrics))
end

"""
The sums with noise over `n`, the expected size of a cohort, which is public, as an update
like `ū`: `noisy!` adds the noise to each, and only then they are rounded.
"""
function noisy_mean(noisy!, ū, sums, n)
    noisy(v, sum) = Vector{Float32}(noisy!(copy(sum)) ./ n)
    return Update(map(noisy, ū.vectors, sums.vectors), noisy(ū.stats, sums.stats),
        map(noisy, ū.metrics, sums.metrics[keys(ū.metrics)]))
end

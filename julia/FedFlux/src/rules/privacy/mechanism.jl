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
The sum of the updates with noise over the expected size of a cohort, which is public:
`noisy!` adds it to the sum of each vector.
"""
noisy_mean(noisy!, ū, ctx) =
    map(v -> noisy!(Float32.(ctx.n .* v)) ./ Float32(ctx.expected), ū)

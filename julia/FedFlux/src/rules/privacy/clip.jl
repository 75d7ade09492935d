# Clipping all that a client sends, for the rules whose privacy rests on its norm.

"The L2 norm of all three parts of an update, in Float64."
total_norm(u::Update) = sqrt(sum(squared_sum, parts(u)))
squared_sum(v) = sum(x -> abs2(Float64(x)), v; init = 0.0)

"""
    clip_update(u::Update, c) -> Update

`u` scaled by min(1, c/‖u‖), the norm taken over vectors, statistics and metrics together;
all zeros where that norm is NaN or infinite, so that nothing passes unclipped.
"""
function clip_update(u::Update, c)
    norm = total_norm(u)
    isfinite(norm) || return map(v -> Altered(zeros(Float32, length(v))), u)
    norm <= c && return u
    factor = Float32((1 - 2e-7) * c / norm, RoundDown)    # each value is rounded once more
    return map(v -> rescaled(v, factor), u)
end

rescaled(v, factor) = Altered(factor .* v)
rescaled(v::Masked, factor) = Masked(factor .* v.values, v.kept)

"Check the settings that rules with a clip and a noise multiplier share."
function check_mechanism(name, clip, noise_multiplier, delta)
    0 < clip < Inf ||
        fail("rule ", name, ": clip is ", clip, "; expected a positive number")
    0 < noise_multiplier < Inf || fail("rule ", name, ": noise_multiplier is ",
        noise_multiplier, "; expected a positive number")
    0 < delta < 1 ||
        fail("rule ", name, ": delta is ", delta, "; expected a number between 0 and 1")
end

# What the rules with a clip and noise ask of their settings.

"Check the settings that rules with a clip and a noise multiplier share."
function check_mechanism(name, clip, noise_multiplier, delta)
    0 < clip < Inf ||
        fail("rule ", name, ": clip is ", clip, "; expected a positive number")
    0 < noise_multiplier < Inf || fail("rule ", name, ": noise_multiplier is ",
        noise_multiplier, "; expected a positive number")
    0 < delta < 1 ||
        fail("rule ", name, ": delta is ", delta, "; expected a number between 0 and 1")
end

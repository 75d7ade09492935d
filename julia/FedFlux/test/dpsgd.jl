# Example-level differential privacy: the engines' clipped gradients, the noise, the rule.

include("dpsgd_engines.jl")
include("dpsgd_random.jl")
include("dpsgd_rule.jl")

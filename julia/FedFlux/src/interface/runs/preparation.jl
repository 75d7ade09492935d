# From the options of a run to what its first round needs.

include("metrics.jl")
include("prepare.jl")

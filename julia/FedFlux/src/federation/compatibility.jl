# Which rules and aggregators go together, and in which order. Federated checks this when it
# is made.

include("compatibility/chain.jl")
include("compatibility/rules.jl")
include("compatibility/aggregators.jl")

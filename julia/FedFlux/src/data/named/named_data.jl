# The data sets that a name or a path stands for.

include("npz.jl")
include("mldatasets.jl")
include("text.jl")
include("load.jl")

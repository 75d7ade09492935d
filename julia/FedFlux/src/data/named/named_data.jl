# The data sets that a name or a path stands for.

include("table.jl")
include("files.jl")
include("npz.jl")
include("mldatasets.jl")
include("text.jl")
include("leaf.jl")
include("uci.jl")
include("generated.jl")
include("load.jl")

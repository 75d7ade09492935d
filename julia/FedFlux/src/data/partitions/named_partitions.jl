# The partitions that papers and benchmark libraries name, one a file.

include("pathological.jl")
include("sizes.jl")
include("inner_dirichlet.jl")
include("similarity.jl")
include("redrawn_dirichlet.jl")

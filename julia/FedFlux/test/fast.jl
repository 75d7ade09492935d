# The fast engine against Zygote, layer by layer.

include("fast_setup.jl")

@testset "fast engine" begin
    include("fast_conv.jl")
    include("fast_layers.jl")
    include("fast_sequences.jl")
    include("fast_engine.jl")
end

# Signals: convolutions, pools and normalizations of one axis beside the channels.

include("../setup/fast.jl")
include("../setup/clipped.jl")

"Conv layers and pools over signals of 12 values in 3 channels, by name."
const SIGNALS = [
    ("strides, pads, pools and norms",
        Chain(Conv((4,), 3 => 8, tanh; stride = 2, pad = (2, 1)), GroupNorm(8, 2, relu),
            MaxPool((2,)), Conv((2,), 8 => 6; dilation = 2), Flux.flatten, Dense(6 => 3))),
    ("groups, and every channel on its own",
        Chain(Conv((3,), 3 => 4, relu; bias = false), Conv((3,), 4 => 4; groups = 2),
            Conv((3,), 4 => 4, relu; groups = 4, pad = 1), MeanPool((2,)), Flux.flatten,
            Dense(16 => 3))),
    ("a skip, and adaptive and global pools",
        Chain(Conv((3,), 3 => 8, relu; pad = 1),
            SkipConnection(Conv((3,), 8 => 8, relu; pad = 1), +),
            AdaptiveMeanPool((4,)),
            GlobalMaxPool(), Flux.flatten, Dense(8 => 3)))
]

@testset "signals: $name" for (name, model) in SIGNALS
    check(model, (12, 3); batches = (1, 2, 7))
    check_clipped(model, (12, 3); batches = (1, 7))
end

@testset "BatchNorm on signals" begin
    norm = Chain(Conv((3,), 2 => 5; bias = false), BatchNorm(5, relu), Flux.flatten,
        Dense(20 => 3))
    check(norm, (6, 2); batches = (2, 7))
end

@testset "steps on signals allocate nothing: $name" for (name, model) in SIGNALS
    e, w = LayerEngine(model, CrossEntropy(), (12, 3), 5), FedFlux.flatten(model)
    g, b = similar(w), FedFlux.batch(e, randn(Float32, 12, 3, 5), rand(0:2, 5), 1:5)
    @test step_bytes(e, g, w, b) == 0
end

@testset "images of one row become signals or sequences" begin
    signal = Chain(FedFlux.as_sequence, Conv((3,), 4 => 5, relu), Flux.flatten,
        Dense(20 => 3))
    check(signal, (6, 4, 1); batches = (1, 5))
    sequence = Chain(FedFlux.as_sequence, FedFlux.last_step, Dense(6 => 3))
    check(sequence, (6, 4, 1); batches = (1, 5))
end

@testset "what isn't for signals" begin
    wrong = Chain(Conv((3, 3), 3 => 5), Flux.flatten, Dense(5 => 3))
    @test occursin("convolutions work on images", unsupported_reason(wrong, (12, 3)))
    wrong = Chain(Conv((3,), 3 => 5), MaxPool((2, 2)), Flux.flatten, Dense(5 => 3))
    @test occursin("pools work on images", unsupported_reason(wrong, (12, 3)))
    wrong = Chain(Conv((3,), 3 => 5), Dense(10 => 3))
    @test occursin("flatten them first", unsupported_reason(wrong, (12, 3)))
    wrong = Chain(Conv((3,), 3 => 5), LSTM(10 => 3))
    @test occursin("only sequences", unsupported_reason(wrong, (12, 3)))
    cubes = Chain(Conv((2, 2, 2), 1 => 2), Flux.flatten, Dense(2 => 3))
    @test occursin("convolutions work", unsupported_reason(cubes, (2, 2, 2)))
end

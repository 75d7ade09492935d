# Sequences: embeddings and recurrent layers.

include("../setup/fast.jl")
include("../setup/clipped.jl")

tokens(vocabulary, dims...) = n -> rand(1:vocabulary, dims..., n)

@testset "$cell" for cell in (RNN, LSTM, GRU)
    two_layers = Chain(cell(5 => 16), cell(16 => 9), Dense(9 => 3))
    check(two_layers, (5, 4); batches = (1, 2, 7, 10))
    no_bias = Chain(cell(5 => 6; bias = false), Flux.flatten, Dense(24 => 3))
    check(no_bias, (5, 4); batches = (2,))
    one_step = Chain(Dense(4 => 5, relu), cell(5 => 33), Dense(33 => 2))
    check(one_step, (4, 1); batches = (1, 3), loss = MSE())
end

@testset "GRU with PyTorch's two biases" begin
    gru(sizes) = FedFlux.two_bias_gru(sizes; init = Flux.glorot_uniform)
    model = Chain(gru(5 => 9), Dense(9 => 3))
    check(model, (5, 4); batches = (1, 2, 20))
    check_clipped(model, (5, 4); batches = (1, 7))
    fused = Chain(Embedding(11 => 5), gru(5 => 6), Dense(6 => 3))
    check(fused, (8,); data = tokens(11, 8), batches = (1, 3))
    check_clipped(fused, (8,); data = tokens(11, 8))
    e, w = LayerEngine(model, CrossEntropy(), (5, 4), 3), FedFlux.flatten(model)
    g, b = similar(w), FedFlux.batch(e, randn(Float32, 5, 4, 3), rand(0:2, 4, 3), 1:3)
    @test step_bytes(e, g, w, b) == 0
end

@testset "RNN, relu" check(Chain(RNN(5 => 7, relu), Dense(7 => 3)), (5, 6))

@testset "embedding" begin
    check(Chain(Embedding(11 => 5), Dense(5 => 3)), (6,); data = tokens(11, 6))
    lstm = Chain(Embedding(11 => 17), LSTM(17 => 20), Dense(20 => 11))
    check(lstm, (8,); data = tokens(11, 8), batches = (1, 2, 7, 10, 32))
    # The engine fuses the embedding if a batch has at least as many tokens as the
    # vocabulary: for 11 and 40 here, not for 50.
    for cell in (RNN, GRU)
        model = Chain(Embedding(11 => 5), cell(5 => 6), Dense(6 => 3))
        check(model, (8,); data = tokens(11, 8), batches = (1, 3, 20))
        for vocabulary in (50, 40)
            recurrent = cell(5 => 6; bias = false)
            model = Chain(Embedding(vocabulary => 5), recurrent, Dense(6 => 3))
            check(model, (8,); data = tokens(vocabulary, 8), batches = (2, 5))
        end
    end
    flat = Chain(Embedding(11 => 5), Flux.flatten, Dense(30 => 3))
    check(flat, (6,); data = tokens(11, 6))
    check(Chain(Embedding(11 => 5), Dense(5 => 3)), (); data = tokens(11))
    e = LayerEngine(Chain(Embedding(11 => 5), Dense(5 => 3)), CrossEntropy(), (6,), 2)
    w = zeros(Float32, nparams(e))
    @test_throws ArgumentError predict(e, w, fill(12, 6, 2))
    @test_throws ArgumentError predict(e, w, fill(0, 6, 2))
end

@testset "from a sequence to features by $f" for f in
                                                 (FedFlux.last_step, FedFlux.mean_of_steps)
    check(Chain(Dense(5 => 7, tanh), f, Dense(7 => 3)), (5, 4); batches = (1, 3))
    check(Chain(LSTM(5 => 19), f, Dense(19 => 3)), (5, 4); batches = (3,))
    check(Chain(f, Dense(5 => 3)), (5, 6); batches = (2,))
    text = Chain(Embedding(11 => 6), GRU(6 => 8), f, Dense(8 => 3))
    @test LayerEngine(text, CrossEntropy(), (5,), 4) isa LayerEngine
end

# Sequences: embedding and the recurrent layers.

tokens(vocabulary, dims...) = n -> rand(1:vocabulary, dims..., n)

@testset "$cell" for cell in (RNN, LSTM, GRU)
    check(Chain(cell(5 => 16), cell(16 => 9), Dense(9 => 3)), (5, 4); batches = (1, 2, 7, 10))
    check(Chain(cell(5 => 6; bias = false), Flux.flatten, Dense(24 => 3)), (5, 4); batches = (2,))
    check(Chain(Dense(4 => 5, relu), cell(5 => 33), Dense(33 => 2)), (4, 1); batches = (1, 3), loss = MSE())
end

@testset "RNN, relu" check(Chain(RNN(5 => 7, relu), Dense(7 => 3)), (5, 6))

@testset "embedding" begin
    check(Chain(Embedding(11 => 5), Dense(5 => 3)), (6,); data = tokens(11, 6))
    check(Chain(Embedding(11 => 17), LSTM(17 => 20), Dense(20 => 11)), (8,); data = tokens(11, 8), batches = (1, 2, 7, 10, 32))
    for cell in (RNN, GRU)      # joined with the embedding where a batch has more tokens than the vocabulary, and not
        check(Chain(Embedding(11 => 5), cell(5 => 6), Dense(6 => 3)), (8,); data = tokens(11, 8), batches = (1, 3, 20))
        check(Chain(Embedding(50 => 5), cell(5 => 6; bias = false), Dense(6 => 3)), (8,); data = tokens(50, 8), batches = (2, 5))
        check(Chain(Embedding(40 => 5), cell(5 => 6; bias = false), Dense(6 => 3)), (8,); data = tokens(40, 8), batches = (2, 5))
    end
    check(Chain(Embedding(11 => 5), Flux.flatten, Dense(30 => 3)), (6,); data = tokens(11, 6))
    check(Chain(Embedding(11 => 5), Dense(5 => 3)), (); data = tokens(11))
    e = LayerEngine(Chain(Embedding(11 => 5), Dense(5 => 3)), CrossEntropy(), (6,), 2)
    w = zeros(Float32, nparams(e))
    @test_throws ArgumentError predict(e, w, fill(12, 6, 2))
    @test_throws ArgumentError predict(e, w, fill(0, 6, 2))
end

# Sequences of different lengths, and series of floats: each sequence counts as if it were
# alone in its own length.

include("../setup/fast.jl")
include("../setup/clipped.jl")

using FedFlux: Padded, last_step, mean_of_steps

"Five samples of up to 6 steps that are filled up with `padding`, and their lengths."
function padded(new_step, padding)
    lengths = [6, 1, 4, 5, 3]
    samples = map(lengths) do n
        steps = [t <= n ? new_step() : padding for t = 1:6]
        reduce(hcat, steps)
    end
    return cat(samples...; dims = 3), lengths
end

text() = ((x, n) = padded(() -> rand(2:9), 1); (dropdims(x; dims = 1), n))
series() = padded(() -> randn(Float32, 3), zeros(Float32, 3))

shorten(x::AbstractMatrix, n, i) = x[1:n, i:i]
shorten(x::AbstractArray{<:Any,3}, n, i) = x[:, 1:n, i:i]

"The same layers for a sample without padding."
alone(model) = Chain(model.layers[1].layers, model.layers[2:end]...)

const PADDED = [
    ("LSTM, the last step of texts", (6,), text,
        Chain(Padded(Embedding(9 => 4), LSTM(4 => 5), last_step), Dense(5 => 3))),
    ("two GRUs, the mean of series", (3, 6), series,
        Chain(Padded(GRU(3 => 5), GRU(5 => 4), mean_of_steps; padding = 0), Dense(4 => 3))),
    ("a transformer of texts", (6,), text,
        transformer(9; longest = 6, embedding = 8, hidden = (12,), heads = 2,
            classes = 3,
            padding = 1))
]

@testset "$name" for (name, dims, data, model) in PADDED
    Random.seed!(2)
    (x, lengths), y = data(), rand(0:2, 5)
    fast, slow, θ, w = engine_pair(model, dims, CrossEntropy(), 5)
    g, back, exact, one = similar(θ), similar(θ), similar(θ), zero(θ)
    # Each sequence alone, in its own length, by layers that know nothing of padding.
    loss, each, logits = 0.0, zeros(Float32, length(θ), 5), zeros(Float32, 3, 5)
    single = ZygoteEngine(alone(model), CrossEntropy())
    for (i, n) in enumerate(lengths)
        short = shorten(x, n, i)
        loss += valgrad!(single, one, θ, short, y[i:i]) / 5
        each[:, i] .= one
        logits[:, i] .= vec(predict(single, θ, short))
    end
    mean_gradient = vec(sum(each; dims = 2)) ./ 5
    @test predict(fast, w, x) ≈ logits rtol = 1e-5
    @test predict(slow, θ, x) ≈ logits rtol = 1e-5
    for byte in (0x00, 0xff)
        @test valgrad!(fill_workspace!(fast, byte), g, w, x, y) ≈ loss rtol = 1e-5
        @test worst(model, to_model!(back, fast, g), mean_gradient) < 1e-5
    end
    @test valgrad!(slow, exact, θ, x, y) ≈ loss rtol = 1e-5
    @test worst(model, exact, mean_gradient) < 1e-5
    clip = median(norm.(eachcol(each)))
    clipped_gradient!(fast, g, w, x, y, clip)
    expected = sum(clipped(c, clip) for c in eachcol(each))
    @test worst(model, to_model!(back, fast, g), expected) < 1e-5
    @test step_bytes(fast, g, w, FedFlux.batch(fast, x, y, 1:5)) == 0
end

@testset "what is padded gets no gradient" begin
    model = last(PADDED[1])
    e, w = LayerEngine(model, CrossEntropy(), (6,), 2), FedFlux.flatten(model)
    g = similar(w)
    valgrad!(e, g, w, [2 3; 4 1; 5 1; 1 1; 1 1; 1 1], [0, 1])
    @test all(iszero, g[1:4])                 # the column of the padding
    @test !any(iszero, g[5:20])
    valgrad!(e, g, w, fill(1, 6, 1), [0])     # padding alone counts as one step
    @test !any(iszero, g[1:4])
end

@testset "where padding can't be" begin
    @test_throws FedFluxError Padded(Embedding(9 => 4), LSTM(4 => 5))
    @test_throws FedFluxError transformer(9; padding = 1)
    late = Chain(Dense(3 => 3), Padded(LSTM(3 => 5), last_step; padding = 0), Dense(5 => 2))
    @test_throws Unsupported LayerEngine(late, CrossEntropy(), (3, 6), 2)
    text_model = last(PADDED[1])
    @test FedFlux.takes_tokens(text_model) && FedFlux.first_layer(text_model) isa Embedding
end

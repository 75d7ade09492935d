# Attention, positions and the transformer.

include("../setup/fast.jl")
include("../setup/clipped.jl")

using FedFlux: Positions, SelfAttention

tokens(vocabulary, dims...) = n -> rand(1:vocabulary, dims..., n)

"Models of attention by name, the size of their samples, and their data."
const ATTENTIVE = [
    ("a transformer of next tokens",
        transformer(11; longest = 6, embedding = 12, hidden = (20,), heads = 3), (6,),
        tokens(11, 6)),
    ("a transformer of classes, more positions than steps",
        transformer(30; longest = 9, embedding = 16, hidden = (24,), heads = 2,
            classes = 4), (7,), tokens(30, 7)),
    ("keys and values of other sizes, no bias, after a Dense",
        Chain(Dense(5 => 8, tanh),
            SelfAttention(Flux.MultiHeadAttention(8 => (6, 10) => 7; nheads = 2);
                causal = true), Dense(7 => 3)), (5, 19),
        n -> randn(Float32, 5, 19, n))
]

@testset "$name" for (name, model, dims, data) in ATTENTIVE
    check(model, dims; batches = (1, 3), data)
    check_clipped(model, dims; batches = (1, 5), data)
    e, w = LayerEngine(model, CrossEntropy(), dims, 4), FedFlux.flatten(model)
    x = data(4)
    labels = size(predict(e, w, x))[2:end]
    g, b = similar(w), FedFlux.batch(e, x, rand(0:2, labels), 1:4)
    @test step_bytes(e, g, w, b) == 0
end

"Attention written out: the equation of Vaswani et al., one head and one step at a time."
function attention_by_hand(l::SelfAttention, x)
    (; nheads, q_proj, k_proj, v_proj, out_proj) = l.attention
    q, k, v = q_proj(x), k_proj(x), v_proj(x)
    y = similar(v)
    for n in axes(x, 3), h = 1:nheads, t in axes(x, 2)
        rows(a) = (size(a, 1) ÷ nheads) .* (h - 1) .+ (1:(size(a, 1)÷nheads))
        steps = l.causal ? (1:t) : axes(x, 2)
        scores = [sum(q[rows(q), t, n] .* k[rows(k), s, n]) for s in steps]
        weights = exp.(scores ./ sqrt(length(rows(q))))
        weights ./= sum(weights)
        y[rows(v), t, n] = sum(weights[s] .* v[rows(v), s, n] for s in steps)
    end
    return out_proj(y)
end

@testset "attention is its equation, causal = $causal" for causal in (false, true)
    l, x = SelfAttention(8; heads = 2, causal), randn(Float32, 8, 5, 3)
    @test l(x) ≈ attention_by_hand(l, x) rtol = 1e-5
    e = LayerEngine(Chain(l, Dense(8 => 2)), CrossEntropy(), (8, 5), 3)
    head = Chain(l, Dense(8 => 2))
    @test predict(LayerEngine(head, CrossEntropy(), (8, 5), 3), FedFlux.flatten(head), x) ≈
          head[2](attention_by_hand(l, x)) rtol = 1e-5
end

@testset "a token's logits don't hang on later tokens" begin
    model = transformer(11; longest = 8, embedding = 16, hidden = (20, 20))
    e, w = LayerEngine(model, CrossEntropy(), (8,), 2), FedFlux.flatten(model)
    x = rand(1:11, 8, 2)
    before = copy(predict(e, w, x))
    for t = 1:7
        changed = copy(x)
        changed[(t+1):end, :] .= mod1.(x[(t+1):end, :] .+ 3, 11)
        after = predict(e, w, changed)
        @test after[:, 1:t, :] == before[:, 1:t, :]
        @test after[:, t+1, :] != before[:, t+1, :]
    end
end

@testset "sizes of the transformer" begin
    count_in(m) = sum(length, FedFlux.Optimisers.trainables(m))
    @test count_in(transformer(65)) == 113_601
    @test size(transformer(65; classes = 3)(rand(1:65, 20, 5))) == (3, 5)
    @test transformer(9; embedding = 40)[3][1].layers[2].attention.nheads == 2
    model = FedFlux.build_model("transformer", (7,), 9; embedding = 8, hidden = [4],
        rng = Xoshiro(1))
    @test size(model(rand(1:9, 7, 2))) == (9, 7, 2)
    @test_throws FedFluxError transformer(9; embedding = 10, heads = 4)
    @test_throws FedFluxError transformer(9; hidden = ())
    @test_throws FedFluxError model(rand(1:9, 8, 2))
    @test_throws FedFluxError transformer(10^9)
end

@testset "what attention can't be" begin
    drops = SelfAttention(Flux.MultiHeadAttention(4; nheads = 2, dropout_prob = 0.1))
    @test occursin(
        "dropout of its weights",
        unsupported_reason(Chain(drops, Dense(4 => 2)), (4, 3))
    )
    l = SelfAttention(4; heads = 2)
    @test occursin("takes sequences", unsupported_reason(Chain(l, Dense(4 => 2)), (4,)))
    @test occursin(
        "layer 1, SelfAttention",
        unsupported_reason(Chain(l, Dense(4 => 2)), (5, 3))
    )
    @test occursin(
        "3 steps, not 4",
        unsupported_reason(Chain(Positions(4, 3), Dense(4 => 2)), (4, 4))
    )
end

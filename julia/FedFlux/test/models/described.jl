# Models from descriptions, and back.

using FedFlux: JSON

layer(kind; entries...) = Dict("layer" => kind, (string(k) => v for (k, v) in entries)...)
dense(in, out; activation = "identity", bias = true) =
    layer("dense"; in, out, bias, activation)
conv(in, out; kernel = [3, 3], groups = 1, activation = "identity") =
    layer("conv"; in, out, kernel, stride = [1, 1], pad = [1, 1], dilation = [1, 1], groups,
        bias = true, activation)
described(layers...; rng = Xoshiro(1)) = FedFlux.described_model(JSON.json(layers); rng)

# Samples in Julia's order of axes, and the layers that take them.
const DESCRIBED = [
    "features" => (rand(Float32, 6, 3),
        [dense(6, 4; activation = "relu"),
            layer("layer_norm"; size = [4], eps = 1e-5,
                affine = true), layer("dropout"; p = 0.5),
            layer("activation"; name = "gelu"),
            layer("valued_activation"; name = "leaky_relu", value = 0.2),
            dense(4, 2; bias = false), layer("log_softmax"; axis = -1)]),
    "images" => (rand(Float32, 8, 6, 2, 3),
        [conv(2, 4; activation = "relu"),
            layer("max_pool"; kernel = [2, 2], stride = [2, 2], pad = [0, 0]),
            layer("batch_norm"; channels = 4, eps = 1e-5, momentum = 0.1,
                affine = true,
                running = true, activation = "relu"),
            conv(4, 4; kernel = [3, 3], groups = 2),
            layer("group_norm"; channels = 4, groups = 2, eps = 1e-5, affine = true),
            layer("mean_pool"; kernel = [3, 2], stride = [3, 2], pad = [0, 0]),
            layer("flatten"), dense(8, 3)]),
    "tokens" => (rand(1:9, 5, 3),
        [layer("embedding"; vocabulary = 9, size = 4),
            layer("lstm"; in = 4, out = 5, bias = true),
            layer("two_bias_gru"; in = 5, out = 4),
            layer("gru"; in = 4, out = 4, bias = false),
            layer("rnn"; in = 4, out = 4, bias = true, activation = "tanh"),
            layer("last_step"), dense(4, 2)]),
    "sequences" => (rand(Float32, 4, 5, 1, 3),
        [layer("as_sequence"), layer("lstm"; in = 4, out = 3, bias = true),
            layer("mean_of_steps"), layer("softmax"; axis = 1)]),
    "sums" => (rand(Float32, 4, 4, 2, 3),
        [
            layer(
                "sum";
                branches = [[conv(2, 2), layer("sum"; branches = [[conv(2, 2)], []])],
                    []]
            ), layer("global_mean_pool"), layer("global_max_pool"),
            layer("flatten"), dense(2, 2)])
]

@testset "a description of $name, and the model's own" for (name, (x, layers)) in DESCRIBED
    model = described(layers...)
    ŷ = model(x)
    @test size(ŷ, ndims(ŷ)) == 3 && all(isfinite, ŷ)
    again = JSON.parse(JSON.json(FedFlux.description(model)))
    @test length(again) == length(layers)
    for (a, b) in zip(again, layers)
        @test keys(a) == keys(b) && a["layer"] == b["layer"]
    end
    @test described(again...)(x) == ŷ        # the same stream draws the same weights
    @test FedFlux.takes_tokens(JSON.json(layers)) == (name == "tokens")
end

@testset "the descriptions of named models" begin
    for (model, x) in ((lenet(), rand(Float32, 28, 28, 1, 2)),
        (mlp(4, 3; hidden = (5,)), rand(Float32, 4, 2)),
        (next_token(7; cell = "gru", hidden = (4,)), rand(1:7, 3, 2)))
        twin = described(FedFlux.description(model)...)
        FedFlux.scatter!(FedFlux.Optimisers.trainables(twin), FedFlux.flatten(model))
        @test twin(x) == model(x)
    end
    @test_throws FedFluxError FedFlux.description(Chain(Dense(2 => 2), sum))
    @test_throws "layer 1, Dense(2 => 2, exp)" FedFlux.description(Dense(2 => 2, exp))
end

@testset "PyTorch's GRU by its equations" begin
    cell = FedFlux.TwoBiasGRUCell(3 => 2; init = Flux.glorot_uniform(Xoshiro(1)))
    cell.b .= 1:6
    cell.c .= (0.5, -0.5)
    x, h = rand(Float32, 3, 4), rand(Float32, 2, 4)
    σ(v) = 1 ./ (1 .+ exp.(-v))
    W(k, v) = cell.Wi[(2k-1):2k, :] * v .+ cell.b[(2k-1):2k]
    U(k, v) = cell.Wh[(2k-1):2k, :] * v
    r, z = σ(W(1, x) .+ U(1, h)), σ(W(2, x) .+ U(2, h))
    n = tanh.(W(3, x) .+ r .* (U(3, h) .+ cell.c))
    @test cell(x, h)[1] ≈ (1 .- z) .* n .+ z .* h
end

@testset "descriptions that are refused" begin
    refused(layers, words) =
        @test_throws words FedFlux.described_model(
            layers isa String ? layers : JSON.json(layers)
        )
    refused("[nonsense", "no JSON")
    refused("[]", "expected a name or a description")
    refused([layer("exec"; code = "run(`ls`)")], "layer 1 is \"exec\"; expected one of")
    refused([dense(4, 2), layer("dense"; in = 2)], "layer 2, dense: expected in, out, bias")
    refused([dense(4, -1)], "layer 1, dense: out is -1; expected a whole number from 1")
    refused([dense(4, true)], "out is true")
    refused([dense(4, 2; activation = "exp")], "activation is \"exp\"; expected")
    refused([dense(2^20, 2^20)], "asks for")
    refused([dense(2^14, 2^13) for _ = 1:3], "asks for")
    refused([conv(3, 4; groups = 2)], "layer 1, conv: in is 3, which groups = 2 does not")
    refused([conv(2, 4; kernel = [3])], "differ in length")
    refused([layer("sum"; branches = [[dense(2, 2)]])], "expected from 2 to 100 branches")
    deep = Any[]
    for _ = 1:30
        deep = [layer("sum"; branches = [deep, []])]
    end
    refused(deep, "sums within sums")
    @test_throws "layer 1.2.1 is nothing" described(layer("sum"; branches = [[], [Dict()]]))
    @test_throws "bytes; expected at most" FedFlux.described_model("[" * " "^(2^20))
    @test_throws "expected one of case_study_cnn" FedFlux.Options(model = "resnet")
end

@testset "a run of a described model, and from its file" begin
    layers = [layer("flatten"), dense(64, 10; activation = "relu"),
        layer("batch_norm"; channels = 10, eps = 1e-5, momentum = 0.1, affine = true,
            running = true, activation = "identity"), dense(10, 10)]
    r = FedFlux.run(; dataset = "digits", model = JSON.json(layers), rounds = 2, lr = 0.3)
    @test r.trainer == "fast" && FedFlux.accuracy(r) > 0.5
    saved = FedFlux.load_result(FedFlux.save(joinpath(mktempdir(), "r.safetensors"), r))
    d = FedFlux.digits()
    @test predict(saved, d.xtest) == predict(r, d.xtest)
    @test score(saved, d.xtest, d.ytest) ≈ FedFlux.accuracy(r)
    words = "the model gives 9 outputs, and labels go up to 9"
    @test_throws words FedFlux.run(; dataset = "digits", rounds = 1,
        model = JSON.json([layer("flatten"), dense(64, 9)]))
end

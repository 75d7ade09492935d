# Dense, activations, dropout, normalization and losses.

include("../setup/fast.jl")

@testset "dense $sizes" for sizes in ((5, 3), (20, 17, 3), (33, 200, 64, 10), (130, 300, 2))
    layers = [Dense(a => b, tanh) for (a, b) in zip(sizes, sizes[2:end])]
    check(Chain(layers...), (sizes[1],); batches = (1, 2, 7, 10, 32))
end

@testset "dense, no bias" begin
    check(Chain(Dense(4 => 6, relu; bias = false), Dense(6 => 2; bias = false)), (4,))
end

using FedFlux: FROM_INPUT, FROM_OUTPUT, activate, backprop, deriv_from_input
const Vec = FedFlux.Vec

const ACTIVATIONS = [
    identity, relu, tanh, sigmoid, leakyrelu, elu, gelu, swish, softplus, softsign,
    relu6,
    hardsigmoid, hardtanh, logsigmoid, Flux.NNlib.tanh_fast, Flux.NNlib.sigmoid_fast,
    celu, selu, hardswish, mish, lisht, tanhshrink, softshrink, logcosh, trelu,
    Flux.NNlib.gelu_sigmoid, FedFlux.gelu_exact
]

"The derivative as a layer computes it: from the output or from the input."
derivative(σ::FROM_OUTPUT, x) = backprop(σ, activate(σ, x), one(x))
derivative(σ::FROM_INPUT, x) = deriv_from_input(σ, x)

@testset "activation $σ" for σ in ACTIVATIONS
    xs = Float32[-100.3:9:100; -9:0.37:9; -0.4:0.0101:0.4]
    exact(x) = Float64(σ(Float64(x)))
    slope(x) = (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5
    for x in xs
        @test isapprox(activate(σ, x), exact(x); rtol = 2.0f-6, atol = 1.0f-7)
        @test isapprox(derivative(σ, x), slope(x); rtol = 1.0f-5, atol = 1.0f-6)
        v = Vec{16,Float32}(x)
        @test activate(σ, v)[3] == activate(σ, x)
        @test derivative(σ, v)[16] == derivative(σ, x)
    end
end

@testset "activations that need their input" begin
    convs = (Conv((3, 3), 2 => 4, gelu; pad = 1), Conv((2, 2), 4 => 3, elu))
    model = Chain(convs..., Flux.flatten, Dense(27 => 5, swish), Dense(5 => 2))
    check(model, (4, 4, 2); batches = (1, 3))
    model = Chain(Dense(6 => 9), softplus, Dense(9 => 3))
    check(model, (6,); data = n -> 3 .* randn(Float32, 6, n))
end

@testset "broadcast activation" begin
    broadcast_tanh = Base.Broadcast.BroadcastFunction(tanh)
    check(Chain(Dense(6 => 9), broadcast_tanh, Dense(9 => 3)), (6,))
end

@testset "loss $loss" for loss in (CrossEntropy(), BinaryCrossEntropy(), MSE())
    model = Chain(Dense(6 => 9, tanh), Dense(9 => 3))
    check(model, (6,); loss, batches = (1, 2, 7, 10, 32))
    check(Chain(Dense(6 => 1)), (6,); loss = loss isa CrossEntropy ? MSE() : loss)
    # Logits far from zero
    check(Chain(Dense(6 => 3)), (6,); loss, data = n -> 30 .* randn(Float32, 6, n))
end

@testset "nested chains, names, vectors" begin
    first = Chain(Dense(4 => 5, relu))
    second = Chain(a = Dense(5 => 6, tanh), b = Dense(6 => 3))
    check(Chain(first, identity, second), (4,))
    check(Chain([Dense(4 => 5, relu), Dense(5 => 3)]), (4,))
    check(Dense(4 => 3), (4,))
end

@testset "flatten" begin
    check(Chain(Flux.flatten, Dense(24 => 3)), (3, 4, 2))
    twice = Chain(Flux.MLUtils.flatten, Dense(24 => 7, relu), Flux.flatten, Dense(7 => 3))
    check(twice, (3, 4, 2))
    check(Chain(Dense(3 => 5), Flux.flatten, Dense(20 => 3)), (3, 4))
end

@testset "BatchNorm" begin
    # The exact gradient of a bias before a BatchNorm is zero; the computed one is noise.
    model = Chain(Dense(5 => 18), BatchNorm(18, relu), Dense(18 => 3))
    check(model, (5,); batches = (5, 7, 10), rtol = 1.0f-4)
    model = Chain(Dense(5 => 18; bias = false), BatchNorm(18, relu), Dense(18 => 3))
    check(model, (5,); batches = (5, 7, 10))
    check(Chain(BatchNorm(5), Dense(5 => 3)), (5,); batches = (5,))
    # Of one sample: a value has no variance, so the running one stays, and ε alone scales.
    check(Chain(BatchNorm(5), Dense(5 => 3)), (5,); batches = (1, 5), rtol = 1.0f-3)
    norms = (
        BatchNorm(6; affine = false),
        BatchNorm(6, gelu; track_stats = false),
        BatchNorm(6; active = false)
    )
    for norm in norms
        model = Chain(Dense(5 => 6; bias = false), norm, Dense(6 => 3))
        check(model, (5,); batches = (5, 8))
    end
    first = Conv((3, 3), 2 => 5; bias = false)
    second = Conv((3, 3), 5 => 20; pad = 1, bias = false)
    front = (first, BatchNorm(5, tanh), second, BatchNorm(20, leakyrelu))
    check(Chain(front..., Flux.flatten, Dense(320 => 3)), (6, 6, 2); batches = (1, 2, 7))
end

@testset "LayerNorm" begin
    check(Chain(Dense(5 => 18), LayerNorm(18), Dense(18 => 3)), (5,))
    check(Chain(Dense(5 => 18), LayerNorm(18, relu), Dense(18 => 3)), (5,))
    check(Chain(Dense(5 => 7), LayerNorm(7, swish; eps = 0.1f0), Dense(7 => 3)), (5,))
    check(Chain(LayerNorm(5; affine = false), Dense(5 => 3)), (5,))
    image = Chain(Conv((2, 2), 2 => 3), Flux.flatten, LayerNorm(27), Dense(27 => 3))
    check(image, (4, 4, 2))
    check(Chain(Dense(5 => 7), LayerNorm(7), Dense(7 => 3)), (5, 6); batches = (1, 3))
end

@testset "dropout" begin
    model = Chain(Dense(40 => 500), Dropout(0.3), Dense(500 => 2))
    e = LayerEngine(model, MSE(), (40,), 16)
    w, g, h = FedFlux.flatten(model), zeros(Float32, nparams(e)), zeros(Float32, nparams(e))
    x, y = randn(Float32, 40, 16), randn(Float32, 2, 16)
    seed!() = FedFlux.reseed!(e, Stream(7, :dropout, 1, 2))
    seed!()
    a = valgrad!(e, g, w, x, y)
    @test valgrad!(e, h, w, x, y) != a               # the next masks
    seed!()
    @test valgrad!(FedFlux.fill_workspace!(e, 0xff), h, w, x, y) == a && g == h
    @test predict(e, w, x) ≈ model[3](model[1](x))   # no dropout in test mode
    # A unit dropped from a batch of one has a zero gradient, about 0.3 of the units.
    e = LayerEngine(Chain(Dense(40 => 500), Dropout(0.3), Dense(500 => 2)), MSE(), (40,), 1)
    FedFlux.reseed!(e, Stream(7, :dropout, 1, 2))
    shares = map(1:20) do _
        valgrad!(e, g, w, x[:, 1:1], y[:, 1:1])
        count(iszero, g[(40*500+1):(40*500+500)]) / 500
    end
    @test 0.27 < sum(shares) / 20 < 0.33
    # Finite differences with fixed masks
    function value(w)
        FedFlux.reseed!(e, Stream(7, :dropout, 1, 3))
        return Float64(valgrad!(e, h, w, x[:, 1:1], y[:, 1:1]))
    end
    value(w)
    copyto!(g, h)
    atol = 2.0f-3 * maximum(abs, g)
    for i in (3, 777, 20100, 20600, 21001)
        bumped(d) = (v = copy(w); v[i] += d; value(v))
        slope = (bumped(1.0f-2) - bumped(-1.0f-2)) / 2.0f-2
        @test isapprox(slope, g[i]; atol, rtol = 1.0f-2)
    end
    check(Chain(Dense(5 => 7), Dropout(0.5; active = false), Dense(7 => 3)), (5,))
    check(Chain(Dense(5 => 7), Dropout(0.0), Dense(7 => 3)), (5,))
end

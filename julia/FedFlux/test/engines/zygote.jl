using FedFlux: batch, flatten, statistics, stats!, setstats!, nstats, nparams, reseed!

@testset "the gradient matches Optimisers.destructure's" begin
    model = Chain(Conv((3, 3), 1 => 2, tanh; pad = 1), Flux.flatten, Dense(32 => 3))
    x, y = rand(Xoshiro(1), Float32, 4, 4, 1, 5), [0, 2, 1, 1, 0]
    e = ZygoteEngine(model, CrossEntropy())
    w, g = flatten(model), zeros(Float32, nparams(e))
    loss = valgrad!(e, g, w, x, y)
    θ, rebuild = Optimisers.destructure(model)
    loss_at(θ) = CrossEntropy()(rebuild(θ)(x), y)
    expected_loss, (expected,) = Flux.withgradient(loss_at, θ)
    @test loss ≈ expected_loss
    @test g ≈ expected rtol = 1e-5
    @test predict(e, w, x) ≈ model(x)
end

@testset "a tied array gets the sum of its gradients" begin
    layer = Dense(3 => 3, tanh)
    tied = Chain(layer, layer)
    x, y = rand(Xoshiro(2), Float32, 3, 4), rand(Xoshiro(3), Float32, 3, 4)
    e = ZygoteEngine(tied, MSE())
    g = zeros(Float32, nparams(e))
    w = flatten(tied)
    @test length(w) == 12
    valgrad!(e, g, w, x, y)
    θ, rebuild = Optimisers.destructure(tied)
    @test g ≈ Flux.gradient(θ -> MSE()(rebuild(θ)(x), y), θ)[1] rtol = 1e-5
end

@testset "models of the same layers have the same type, and their own names and order" begin
    net(n) = Chain(front = Dense(3 => 4, tanh),
        sum = SkipConnection(Chain([Dense(4 => 4) for _ = 1:n]...), +),
        both = Parallel(+, Dense(4 => 4), identity), last = Dense(4 => 2))
    e, other = ZygoteEngine(net(1), MSE()), ZygoteEngine(net(3), MSE())
    @test typeof(e.model) == typeof(other.model)
    @test length.(e.params) == length.(Optimisers.trainables(net(1)))
    model = net(3)
    w, g, x, y = flatten(model), zeros(Float32, nparams(other)), randn(Float32, 3, 5),
    randn(Float32, 2, 5)
    θ, rebuild = Optimisers.destructure(model)
    @test valgrad!(other, g, w, x, y) ≈ MSE()(model(x), y)
    @test g ≈ Flux.gradient(θ -> MSE()(rebuild(θ)(x), y), θ)[1] rtol = 1e-5
end

@testset "an unused parameter has gradient zero" begin
    e = ZygoteEngine(Chain(Dense(2 => 2), x -> 0 .* x), MSE())
    g = ones(Float32, 6)
    valgrad!(e, g, ones(Float32, 6), rand(Float32, 2, 3), rand(Float32, 2, 3))
    @test all(iszero, g)
end

@testset "BatchNorm statistics" begin
    model = Chain(Dense(3 => 4), BatchNorm(4), Dense(4 => 2))
    e = ZygoteEngine(model, CrossEntropy())
    @test nstats(e) == 8
    before = stats!(zeros(Float32, 8), e)
    @test before == Float32[0, 0, 0, 0, 1, 1, 1, 1]
    w, g = flatten(model), zeros(Float32, nparams(e))
    valgrad!(e, g, w, randn(Xoshiro(1), Float32, 3, 20), rand(Xoshiro(2), 0:1, 20))
    after = stats!(zeros(Float32, 8), e)
    @test after != before
    setstats!(e, before)
    @test stats!(zeros(Float32, 8), e) == before
    @test all(iszero, model[2].μ)     # the engine works on a copy
end

@testset "BatchNorm on one sample: the mean moves, the variance stays" begin
    x, y = Float32[1 5; 2 6; 3 7], [0, 1]
    for norm in (BatchNorm(3), BatchNorm(3, relu))
        model = Chain(norm, Dense(3 => 2))
        e = ZygoteEngine(model, CrossEntropy())
        w, g = flatten(model), zeros(Float32, nparams(e))
        @test isfinite(valgrad!(e, g, w, x[:, 1:1], y[1:1])) && all(isfinite, g)
        @test stats!(zeros(Float32, 6), e) ≈ [0.1, 0.2, 0.3, 1, 1, 1]     # momentum .1
        # Of two the variance is the unbiased one, 8.
        setstats!(e, Float32[0, 0, 0, 1, 1, 1])
        valgrad!(e, g, w, x, y)
        @test stats!(zeros(Float32, 6), e) ≈ [0.3, 0.4, 0.5, 1.7, 1.7, 1.7]
        # What diverges still shows.
        valgrad!(e, g, w, fill(NaN32, 3, 1), y[1:1])
        @test all(isnan, stats!(zeros(Float32, 6), e))
    end
end

@testset "the seed decides dropout's masks" begin
    model = Chain(Dense(20 => 50), Dropout(0.5), Dense(50 => 2))
    e = ZygoteEngine(model, CrossEntropy())
    x, y = rand(Float32, 20, 8), rand(0:1, 8)
    w = flatten(model)
    function draw(seed)
        reseed!(e, Stream(seed, :dropout))
        g = zeros(Float32, nparams(e))
        valgrad!(e, g, w, x, y)
        return g
    end
    @test draw(1) == draw(1)
    @test draw(1) != draw(2)
    @test predict(e, w, x) == predict(e, w, x)
end

@testset "a batch holds the chosen samples" begin
    e = ZygoteEngine(Chain(Dense(2 => 1)), MSE())
    x, y = rand(Float32, 2, 5), rand(Float32, 5)
    @test batch(e, x, y, view([4, 1], 1:2)) == (x[:, [4, 1]], y[[4, 1]])
end

@testset "the ends of a model that ends with a chain" begin
    model = Chain(Dense(3 => 4, tanh), Chain(Dense(4 => 5, tanh), Dense(5 => 2)))
    e = ZygoteEngine(model, MSE())
    w, x, y = flatten(model), randn(Float32, 3, 6), randn(Float32, 2, 6)
    g, taught = similar(w), similar(w)
    value = valgrad!(e, g, w, x, y)
    @test valgrad!(n -> 0, e, taught, w, x, y, FedFlux.Ends(e, 6)) ≈ value
    @test taught ≈ g rtol = 1e-5
end

@testset "chains and branches within others keep every gradient" begin
    inner = SkipConnection(Chain(Chain(Dense(4 => 4, tanh))), +)
    model = Chain(Dense(3 => 4), SkipConnection(Chain(Chain(inner, LayerNorm(4))), +),
        Parallel(+, Chain(Chain(Dense(4 => 2))), Dense(4 => 2)))
    x, y = randn(Xoshiro(1), Float32, 3, 6), randn(Xoshiro(2), Float32, 2, 6)
    e = ZygoteEngine(model, MSE())
    w = flatten(model)
    g = similar(w)
    valgrad!(e, g, w, x, y)
    θ, rebuild = Optimisers.destructure(model)
    @test g ≈ only(Flux.gradient(θ -> MSE()(rebuild(θ)(x), y), θ)) rtol = 1e-5
end

using FedFlux: flatten

a, b = softmax_regression(4, 2; rng = Stream(1, :init)),
softmax_regression(4, 2; rng = Stream(2, :init))

@testset "aggregate_models averages, weighted" begin
    params = aggregate_models([a, b]; weights = [30, 10])
    @test params ≈ [
        0.75f0 * p + 0.25f0 * q for
        (p, q) in zip(Optimisers.trainables(a), Optimisers.trainables(b))
    ]
    @test aggregate_models([a]) == collect(Optimisers.trainables(a))
    @test occursin("no models", message(() -> aggregate_models([])))
    @test occursin(
        "not all zero",
        message(() -> aggregate_models([a, b]; weights = [0, 0]))
    )
    @test occursin(
        "not all zero",
        message(() -> aggregate_models([a, b]; weights = [1, NaN]))
    )
    @test occursin(
        "2 models and 1 weights",
        message(() -> aggregate_models([a, b]; weights = [1]))
    )
    @test occursin(
        "model 2 has arrays",
        message(() -> aggregate_models([a, softmax_regression(5, 2)]))
    )
end

@testset "update_model! and its copying twin" begin
    params = [ones(Float32, 2, 4), Float32[1, 2]]
    c = update_model(a, params)
    @test c[2].weight == params[1] && a[2].weight != params[1]
    @test update_model!(deepcopy(a), aggregate_models([b])) |> flatten == flatten(b)
    @test occursin(
        "layers.2.bias has size (2,)",
        message(() -> update_model!(deepcopy(a), [params[1], Float32[1]]))
    )
    @test occursin(
        "1 arrays were given",
        message(() -> update_model!(deepcopy(a), params[1:1]))
    )
    @test occursin(
        "NaN",
        message(() -> update_model!(deepcopy(a), [fill(NaN32, 2, 4), params[2]]))
    )
end

@testset "train_model! is local SGD" begin
    x, y = blobs(50; features = 4, classes = 2)
    for trainer in (:auto, :zygote)
        model = deepcopy(a)
        @test train_model!(
            model,
            (x, y);
            epochs = 2,
            batchsize = 8,
            rng = Stream(9, :batches),
            trainer
        ) === model
        θ, rebuild = Optimisers.destructure(a)
        rng, order = Stream(9, :batches), collect(1:50)
        for _ = 1:2
            shuffle!(rng, order)
            for idx in Iterators.partition(order, 8)
                θ -=
                    0.05f0 *
                    Flux.gradient(θ -> CrossEntropy()(rebuild(θ)(x[:, idx]), y[idx]), θ)[1]
            end
        end
        @test flatten(model) ≈ θ rtol = 1e-5
    end
    @test occursin(
        "Dense(4 => 2)",
        message(() -> train_model!(deepcopy(a), (rand(Float32, 5, 50), y)))
    )
end

@testset "train_model! draws dropout's masks from rng: $trainer" for trainer in
                                                                     (:fast, :zygote)
    x, y = blobs(40; features = 4, classes = 2)
    start = Chain(Dense(4 => 32, relu; init = Flux.glorot_uniform(Stream(1, :init))),
        Dropout(0.5), Dense(32 => 2; init = Flux.glorot_uniform(Stream(2, :init))))
    # One batch of everything: its order changes no more than the last digits.
    trained(rng; p = 0.5) =
        flatten(
            train_model!(Chain(start[1], Dropout(p), start[3]) |> deepcopy, (x, y);
                batchsize = 40, rng, trainer)
        )
    @test trained(Stream(1, :batches)) == trained(Stream(1, :batches))
    @test !(trained(Stream(1, :batches)) ≈ trained(Stream(2, :batches)))
    @test trained(Stream(1, :batches); p = 0) ≈ trained(Stream(2, :batches); p = 0)
    rng = Xoshiro(3)
    @test !(trained(rng) ≈ trained(rng))          # the next call draws new ones
    # The batches take from rng what they would without dropout.
    a, b = Xoshiro(4), Xoshiro(4)
    trained(a)
    shuffle!(b, collect(1:40))
    @test a == b
    # And whoever uses the global generator finds it as it was.
    Random.seed!(5)
    before = copy(Random.default_rng())
    trained(Xoshiro(6))
    @test rand(UInt64, 4) == rand(before, UInt64, 4)
    Random.seed!(7)
    first_call = trained(Random.default_rng())
    @test !(first_call ≈ trained(Random.default_rng()))
    Random.seed!(7)
    @test first_call == trained(Random.default_rng())
end

@testset "a run leaves the user's generator as it was" begin
    x, y = blobs(60)
    clients = Clients(x, y, [1:20, 21:40, 41:60])
    model = Chain(Dense(6 => 8, relu), Dropout(0.5), Dense(8 => 3))
    f = Federated(model; trainer = :zygote, aggregate = FLTrust(5), batchsize = 5)
    apart = FedFlux.set_aside(clients, 5, 0)
    Random.seed!(8)
    before = copy(Random.default_rng())
    pool = FedFlux.WorkerPool(f, apart)
    st = State(f, pool)
    round!(f, st, apart, 1:3; pool)
    fit!(f, st, apart; rounds = 2, pool)
    @test rand(UInt64, 4) == rand(before, UInt64, 4)
end

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

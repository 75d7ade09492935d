using FedFlux: build_model, checkmodel, flatten

@testset "published parameter counts" begin
    @test length(flatten(case_study_cnn())) == 33_546      # 160 + 4,640 + 18,496 + 10,250
    @test length(flatten(mcmahan_cnn())) == 1_663_370      # McMahan et al. 2017
    @test length(flatten(mlp(784))) == 199_210             # McMahan et al. 2017, 2NN
    @test length(flatten(softmax_regression(784))) == 7_850
    @test length(flatten(lenet())) == 61_706               # LeNet-5
    # He et al. 2016's ResNet-18 with a small first layer, as for CIFAR
    @test length(flatten(resnet18_gn())) == 11_173_962
    @test length(flatten(resnet8())) == 78_042
    @test length(flatten(mobilenet_small())) == 37_162
end

@testset "other sizes, channels and classes" begin
    for imgsize in ((8, 8), (28, 28), (32, 32), (30, 21)), channels in (1, 3),
        classes in (2, 10)

        images = rand(Float32, imgsize..., channels, 2)
        @test size(case_study_cnn(; imgsize, channels, classes)(images)) == (classes, 2)
        @test size(mcmahan_cnn(; imgsize, channels, classes)(images)) == (classes, 2)
    end
    wide = lenet(; imgsize = (32, 40), channels = 3, classes = 7)
    @test size(wide(rand(Float32, 32, 40, 3, 2))) == (7, 2)
    @test size(mlp(12, 3; hidden = (5,))(rand(Float32, 2, 6, 4))) == (3, 4)
end

@testset "$name takes any size of images, on the fast engine" for name in
                                                                  (
    "resnet8",
    "mobilenet_small"
)

    for dims in ((32, 32, 3), (9, 14, 1))
        model = build_model(name, dims, 7; rng = Xoshiro(1))
        x = randn(Float32, dims..., 2)
        e = LayerEngine(model, CrossEntropy(), dims, 2)
        w = FedFlux.to_engine!(zeros(Float32, FedFlux.nparams(e)), e, flatten(model))
        @test predict(e, w, x) ≈ model(x) rtol = 1e-4
    end
end

@testset "initial parameters come from the generator" begin
    a, b = case_study_cnn(rng = Stream(1, :init)), case_study_cnn(rng = Stream(1, :init))
    @test flatten(a) == flatten(b)
    @test flatten(a) != flatten(case_study_cnn(rng = Stream(2, :init)))
    @test all(iszero, a[1].bias)
    # Glorot: the first weight drawn is (u - 1/2)·sqrt(24 / (9 + 9·16))
    u = rand(Stream(1, :init), Float32)
    @test a[1].weight[1] == (u - 0.5f0) * sqrt(24.0f0 / (9 + 144))
end

@testset "errors name the layer or the option" begin
    @test occursin("lenet, layer 3", message(() -> lenet(imgsize = (8, 8))))
    @test occursin("imgsize", message(() -> case_study_cnn(imgsize = (0, 3))))
    rows() = build_model("case_study_cnn", (10,), 2; rng = Xoshiro(1))
    @test occursin("(W, H, C)", message(rows))
    function why(imgsize, outputs)
        sample = rand(Float32, imgsize..., 1, 1)
        return message(() -> checkmodel(case_study_cnn(), sample, outputs))
    end
    text = why((32, 40), 10)
    @test occursin("layer 5, Dense(1024 => 10)", text) && occursin("1280", text)
    @test occursin("gives 10 outputs", why((28, 28), 3))
end

@testset "no model is made that is too large" begin
    big_ones = (() -> mlp(10^9, 10; hidden = (10^9,)), () -> mlp(4, 10^9),
        () -> softmax_regression(2^40, 2^40),
        () ->
            FedFlux.build_model("lstm", (80,), 10^6; hidden = [10^6], rng = Xoshiro(1)),
        () -> FedFlux.build_model("gru", (80,), 10^8; hidden = [8], rng = Xoshiro(1)),
        () -> FedFlux.build_model("case_study_cnn", (10^6, 10^6, 1), 10; rng = Xoshiro(1)),
        () -> FedFlux.build_model("lenet", (28, 28, 1), 10^8; rng = Xoshiro(1)),
        () -> FedFlux.build_model("mcmahan_cnn", (4000, 4000, 1), 10; rng = Xoshiro(1)))
    for make in big_ones
        @test occursin("parameters (layers of", message(make))
        @test (@allocated message(make)) < 2^20
    end
end

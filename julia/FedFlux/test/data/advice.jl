# What is said of a user's own arrays that train badly.
using FedFlux: advice_on_inputs, advice_on_labels

@testset "inputs that are too large, by the root of their mean square" begin
    x = randn(Xoshiro(1), Float32, 3, 50)
    @test advice_on_inputs(x) == String[]
    x[2, :] .= 61_234
    @test advice_on_inputs(x) == [
        "x_train: feature 2 has values around 61000: train " *
        "with normalise = \"federated\""
    ]
    x[2, 2:end] .= 0        # one large value among small ones
    x[2, 1] = 2000
    @test advice_on_inputs(x) == String[]
    images = 40_000 .+ randn(Float32, 5, 5, 1, 4)
    @test occursin("the images have values around 40000", only(advice_on_inputs(images)))
    @test occursin("(2, 3, 1, 4)", only(advice_on_inputs(zeros(Float32, 3, 16, 16, 2))))
    @test advice_on_inputs(zeros(Float32, 16, 16, 3, 2)) == String[]
end

@testset "labels that don't count from 0, and the way out that is named" begin
    @test advice_on_labels([0, 1, 2, 1]) == advice_on_labels([0, 2, 3]) == String[]
    @test occursin("begin at 1", only(advice_on_labels([1, 2, 3])))
    y = [20555, 1001, 90210, 1001]
    @test occursin("are 3 of 0 to 90210", only(advice_on_labels(y)))
    @test indexin(y, sort(unique(y))) .- 1 == [1, 0, 2, 0]
end

@testset "a run says it of arrays and files alone" begin
    x, y = 5.0f4 .+ 100 .* randn(Xoshiro(2), Float32, 4, 40), rand(Xoshiro(3), 1:2, 40)
    run(dataset; kw...) =
        FedFlux.run(; dataset, model = "softmax_regression", clients = 2, rounds = 1, kw...)
    arrays = Dataset(x, y, nothing, nothing)
    r = @test_logs (:warn, r"feature \d has values around 50000") match_mode = :any run(
        arrays)
    @test length(r.warnings) == 1
    # A run numbers the labels, but not those of a model whose outputs are given.
    r = run(arrays; model = Chain(Dense(4 => 3)), normalise = "federated")
    @test occursin("labels begin at 1", only(r.warnings))
    @test run(arrays; normalise = "federated").warnings == String[]
    mktempdir() do dir
        path = joinpath(dir, "a.npz")
        NPZ.npzwrite(path, Dict("x_train" => permutedims(x), "y_train" => y .== 2))
        r = run(path)               # labels that are true or false are 1 or 0
        @test length(r.warnings) == 1 && last(r.names) == "layers.2.bias"
        @test size(last(r.parameters)) == (2,)
    end
    @test run("digits").warnings == String[]
end

# A result's predictions and scores; the history as a table.
using FedFlux: measure, area_under_curve, history_table

@testset "metrics, beside published values" begin
    # The examples of scikit-learn's documentation of the same functions.
    @test area_under_curve(Bool[0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    hot(labels) = Float32[c == y for c = 0:2, y in labels]
    @test measure(:f1, CrossEntropy(), hot([0, 2, 1, 0, 0, 1]), [0, 1, 2, 0, 1, 2]) ≈
          0.26666666666666666
    y, out = [3, -0.5, 2, 7], [2.5 0.0 2 8]
    @test measure("r2", MSE(), out, y) ≈ 0.9486081370449679
    @test measure(:mae, MSE(), out, y) == 0.5
    @test measure(:mse, MSE(), out, y) == 0.375
    # Of 4 classes, all equally likely.
    @test measure(:perplexity, CrossEntropy(), zeros(Float32, 4, 3), [0, 3, 1]) ≈ 4
    @test measure((y, ŷ) -> sum(y .== ŷ), CrossEntropy(), Float32[1 0; 0 1], [0, 0]) == 1
    @test occursin("r2 is for numbers", message(() -> measure(:r2, CrossEntropy(), out, y)))
    @test occursin("f1 is for labels", message(() -> measure(:f1, MSE(), out, y)))
    @test occursin("expected one of accuracy", message(() -> measure(:f2, MSE(), out, y)))
    ties = area_under_curve(Bool[1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])
    @test ties == 0.5
end

@testset "predictions are those that the history measured" begin
    d = FedFlux.digits()
    for options in ((; normalise = "federated"), (; mean = 0.3, std = 0.5))
        r = FedFlux.run(; dataset = "digits", clients = 4, rounds = 2, lr = 0.2,
            model = "mlp", hidden = [16], options...)
        labels = predict(r, d.xtest)
        @test score(r, d.xtest, d.ytest) ≈ accuracy(r) ≈ mean(labels .== d.ytest)
        p = predict_proba(r, d.xtest)
        @test size(p) == (10, 360) && all(≈(1), sum(p; dims = 1))
        @test log(score(r, d.xtest, d.ytest; metric = "perplexity")) ≈
              last(r.history).test_loss rtol = 1e-4
    end
end

@testset "two classes, and numbers" begin
    x, y = blobs(60; classes = 2)
    run(y; kw...) = FedFlux.run(; dataset = Dataset(x, y, x, y), clients = 3, rounds = 3,
        lr = 0.01, kw...)
    r = run(y; model = "mlp", hidden = [4], loss = "binary_cross_entropy")
    @test score(r, x, y) ≈ accuracy(r) && size(predict_proba(r, x)) == (2, 60)
    @test predict(r, x) == Int.(predict_proba(r, x)[2, :] .> 0.5)
    target = 2 .* x[1, :]
    r = run(target; model = "softmax_regression", loss = "mse")
    @test score(r, x, target; metric = :mse) ≈ last(r.history).test_loss rtol = 1e-4
    @test occursin("no probabilities", message(() -> predict_proba(r, x)))
end

@testset "the history as a table; files without test data" begin
    r = FedFlux.run(; dataset = "digits", model = "softmax_regression", rounds = 2,
        clients = 3)
    rows = history_table(r)
    @test [row.round for row in rows] == [1, 2] && rows[2].accuracy == accuracy(r)
    @test rows[1].client_accuracy_median == r.history[1].client_accuracy.median
    @test length(unique(keys.(rows))) == 1
    # without metrics of one's own a record has no field of them
    @test collect(keys(FedFlux.ordered(r.history[1]))) ==
          collect(Base.front(fieldnames(Record)))
    attacked = FedFlux.run(; dataset = "digits", model = "softmax_regression", rounds = 3,
        clients = 3, membership = 50, eval_every = 2, aggregate = "krum(f=0)")
    rows = history_table(attacked)
    @test [row.membership_auc for row in rows] ==
          [r.membership === nothing ? nothing : r.membership.auc for r in attacked.history]
    @test rows[1].membership_auc === nothing && rows[3].membership_auc > 0
    @test all(row -> !(NamedTuple in typeof.(values(row))), rows)
    path = joinpath(mktempdir(), "été 历史.csv")
    @test FedFlux.save_history(path, attacked) == path
    lines = split(chomp(read(path, String)), '\n')
    @test lines[1] == join(keys(first(rows)), ',') && length(lines) == 4
    cells = split.(lines[2:4], ',')
    column(name) = [row[findfirst(==(name), keys(first(rows)))] for row in cells]
    @test parse.(Float64, column(:train_loss)) == [r.train_loss for r in attacked.history]
    @test column(:cohort) == ["1 2 3", "1 2 3", "1 2 3"]
    @test column(:accuracy)[1] == "" &&
          parse(Float64, column(:accuracy)[3]) ==
          attacked.history[3].accuracy
    left_out = [FedFlux.Dropped((client = 2, reason = "is \"large\", here"))]
    named = Record(first(attacked.history); dropped = left_out)
    @test occursin("\"2 (is \"\"large\"\", here)\"",
        read(FedFlux.save_history(path, [named]), String))
    @test occursin("a file .csv", message(() -> FedFlux.save_history("a.parquet", r)))
    Tables = Base.loaded_modules[Base.identify_package(FedFlux.MLUtils, "Tables")]
    @test Tables.istable(rows) && Tables.columntable(rows).round == [1, 2, 3]
    mktempdir() do dir
        path = joinpath(dir, "train.npz")
        NPZ.npzwrite(
            path,
            Dict("x_train" => rand(Float32, 12, 3),
                "y_train" => repeat(0:1, 6))
        )
        alone = FedFlux.run(; dataset = path, model = "mlp", hidden = [2], clients = 2,
            rounds = 1)
        @test accuracy(alone) === nothing && isfinite(last(alone.history).train_loss)
    end
end

@testset "a saved result" begin
    d = FedFlux.digits()
    r = FedFlux.run(; dataset = "digits", model = "mlp", hidden = [16], rounds = 2,
        clients = 4, clients_per_round = 2)
    @test [length(x.cohort) for x in r.history] == [2, 2]
    mktempdir() do dir
        path = FedFlux.save(joinpath(dir, "run.safetensors"), r)
        saved = FedFlux.load_result(path)
        @test saved.parameters == r.parameters && accuracy(saved) == accuracy(r)
        @test score(saved, d.xtest, d.ytest) ≈ accuracy(r)
        again = FedFlux.run(; dataset = "digits", model = "mlp", hidden = [16], rounds = 1,
            clients = 4, init = saved)
        @test again.params_sha256 == FedFlux.run(; dataset = "digits", model = "mlp",
            hidden = [16], rounds = 1, clients = 4, init = r).params_sha256
        bytes = read(path)
        bytes[end] ⊻= 0x01
        write(path, bytes)
        @test occursin("is damaged", message(() -> FedFlux.load_result(path)))
        write(path, FedFlux.write_tensors(["a" => Float32[1]]))
        @test occursin("not a result", message(() -> FedFlux.load_result(path)))
    end
end

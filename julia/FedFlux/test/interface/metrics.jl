# Scores of every shape of targets, by every loss, metric and average: scikit-learn's, or
# refused. metrics.json is made by scikit-learn: see tests/test_metrics.py.
using FedFlux: measure

"An array of JSON in Julia's order of axes: the sample last."
from_json(v) = v isa AbstractVector ? stack(map(from_json, v)) : v

# JSON does not tell whole numbers from others.
in_numbers(v) = all(isinteger, v) ? Int.(v) : Float64.(v)

@testset "every score is scikit-learn's, or refused" begin
    table = FedFlux.JSON.parsefile(joinpath(@__DIR__, "metrics.json"))
    @test length(table) > 20
    for case in table
        out, y = from_json(case["outputs"]), in_numbers(from_json(case["targets"]))
        loss = FedFlux.LOSSES[case["loss"]]
        for (asked, expected) in case["scores"]
            metric, average = split(asked)
            kind = average == "None" ? nothing : average
            score() = measure(metric, loss, out, y; average = kind)
            where_it_is = (case["loss"], case["name"], asked)
            if expected === nothing
                @test (where_it_is, occursin(r"average|metric", message(score))) ==
                      (where_it_is, true)
            else
                @test (where_it_is, score() ≈ expected) == (where_it_is, true)
            end
        end
    end
end

@testset "targets that scores refuse" begin
    loss, out = CrossEntropy(), [1.0 2.0; 2.0 1.0]
    for metric in (:accuracy, :perplexity),
        (y, words) in ([0, 2] => "y contains 2; expected labels from 0 to 1",
            [0, -1] => "y contains -1; expected labels from 0 to 1",
            [0, 0.5] => "y contains 0.5; expected labels",
            ["a", "b"] => "expected numbers, as in y_train",
            [0, NaN] => "y contains NaN or Inf",
            [0 1; 1 0] => "y has size (2, 2); expected (2,)")

        @test occursin(words, message(() -> measure(metric, loss, out, y)))
    end
    @test measure(:accuracy, loss, out, [true, false]) == 1
    @test measure(:accuracy, loss, out, [1.0 0.0]) == 1
    @test occursin("the model diverged",
        message(() -> measure(:auc, loss, [NaN 2.0; 2.0 1.0], [1, 0])))
    @test occursin("expected none for metric accuracy",
        message(() -> measure(:accuracy, loss, out, [1, 0]; average = :macro)))
end

@testset "labels of every shape work to the end" begin
    rng = Xoshiro(5)
    x = randn(rng, Float32, 4, 90)
    several = Int.(x[1:3, :] .> 0)
    for y in (several[1, :], several[1:1, :], several)
        test_y = y isa Vector ? y[1:40] : y[:, 1:40]
        r = FedFlux.run(; dataset = Dataset(x, y, x[:, 1:40], test_y),
            loss = "binary_cross_entropy", model = "softmax_regression", lr = 2.0,
            target_accuracy = 0.85, client_test = 0.1, clients = 3, rounds = 60,
            batch_size = 8)
        @test r.stopped == "target_accuracy"
        ŷ = reshape(predict(r, x[:, 1:40]), :, 40)
        right = mean(i -> ŷ[:, i] == reshape(test_y, :, 40)[:, i], 1:40)
        @test accuracy(r) ≈ score(r, x[:, 1:40], test_y) ≈ right
        @test all(row -> row.accuracy !== nothing, r.clients)
        @test 0.7 < score(r, x, y; metric = "auc") <= 1
    end
end

@testset "numbers of every shape work to the end" begin
    x = randn(Xoshiro(6), Float32, 4, 90)
    for y in (x[1, :], x[1:1, :], x[1:2, :] .* [1, 100])
        run(; kw...) = FedFlux.run(; dataset = Dataset(x, y, x, y), loss = "mse",
            model = "softmax_regression", lr = 0.05, clients = 3, rounds = 3, kw...)
        r = run()
        rows = reshape(y, :, 90)
        missed = mean(abs2, reshape(predict(r, x), :, 90) .- rows; dims = 2)
        spread = var(rows; dims = 2, corrected = false)
        @test score(r, x, y) ≈ mean(1 .- missed ./ spread) rtol = 1e-4
        @test score(r, x, y; metric = :mse) ≈ last(r.history).test_loss rtol = 1e-4
        @test occursin("target_accuracy", message(() -> run(; target_accuracy = 0.5)))
    end
end

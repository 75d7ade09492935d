using FedFlux: ZygoteEngine, balanced_weights, checklabels, classes, count_right!, targets
using FedFlux: LayerEngine, flatten, to_engine!, to_model!

@testset "cross-entropy from its definition" begin
    ŷ, y = randn(Xoshiro(1), Float32, 4, 6), [0, 3, 1, 1, 2, 0]
    expected = mean(log(sum(exp.(ŷ[:, j]))) - ŷ[y[j]+1, j] for j = 1:6)
    @test CrossEntropy()(ŷ, y) ≈ expected
    sequences, labels = reshape(ŷ, 4, 3, 2), reshape(y, 3, 2)
    @test CrossEntropy()(sequences, labels) ≈ expected
end

@testset "binary cross-entropy and squared error" begin
    ŷ, y = randn(Xoshiro(2), Float32, 1, 5), Float32[0, 1, 1, 0, 1]
    p = 1 ./ (1 .+ exp.(-vec(ŷ)))
    @test BinaryCrossEntropy()(ŷ, y) ≈ -mean(@. y * log(p) + (1 - y) * log(1 - p))
    @test MSE()(ŷ, y) ≈ mean(abs2, vec(ŷ) .- y)
end

@testset "correct answers by class" begin
    right, total = zeros(Int, 3), zeros(Int, 3)
    logits = Float32[5 0 0 1; 0 5 0 2; 0 0 5 0]
    count_right!(right, total, CrossEntropy(), logits, [0, 1, 0, 2])
    @test (right, total) == ([1, 1, 0], [2, 1, 1])
    right, total = zeros(Int, 2), zeros(Int, 2)
    count_right!(right, total, BinaryCrossEntropy(), Float32[-1 1 1], Float32[0, 0, 1])
    @test (right, total) == ([1, 1], [2, 1])
end

@testset "labels" begin
    @test classes(CrossEntropy(), [0, 4, 2]) == 5
    @test targets(CrossEntropy(), [0.0, 2.0]) == Int32[0, 2]
    why(loss, y) = message(() -> checklabels(loss, y, "train"))
    @test occursin("1.5", why(CrossEntropy(), [0, 1.5]))
    @test occursin("label -1", why(CrossEntropy(), [0, -1]))
    @test occursin("label 2", why(BinaryCrossEntropy(), [0, 2]))
end

@testset "weights of classes, smoothed labels, Huber's loss" begin
    rng = Xoshiro(5)
    ŷ, y, w = randn(rng, Float32, 4, 6), [0, 3, 1, 1, 2, 0], [0.5, 2, 1, 3]
    logp = Float64.(ŷ) .- log.(sum(exp.(Float64.(ŷ)); dims = 1))
    # By the definition: each class has its share of the label, times its weight.
    function expected(ϵ, w)
        q(c, j) = (1 - ϵ) * (y[j] == c - 1) + ϵ / 4
        return -mean(sum(w[c] * q(c, j) * logp[c, j] for c = 1:4) for j = 1:6)
    end
    @test CrossEntropy(class_weights = w)(ŷ, y) ≈ expected(0, w)
    @test CrossEntropy(label_smoothing = 0.2)(ŷ, y) ≈ expected(0.2, ones(4))
    both = CrossEntropy(class_weights = w, label_smoothing = 0.2)
    @test both(ŷ, y) ≈ expected(0.2, w)
    @test both(ŷ, Float32.((0:3) .== y')) ≈ expected(0.2, w)        # as mixup's labels
    @test CrossEntropy(class_weights = ones(4))(ŷ, y) ≈ CrossEntropy()(ŷ, y)

    x, t = Float64.(ŷ[1:1, :]), [0, 1, 1, 0, 1, 0]
    p = vec(1 ./ (1 .+ exp.(-x)))
    binary = BinaryCrossEntropy(class_weights = [2, 5], label_smoothing = 0.1)
    soft = 0.9 .* t .+ 0.05
    answer(w, t, p) = -w * (t * log(p) + (1 - t) * log(1 - p))
    @test binary(Float32.(x), t) ≈ mean(answer.(ifelse.(t .== 1, 5, 2), soft, p))
    @test Huber(delta = 2)(Float32[1 -1.5 5 -9], [0, 0, 0, 0]) ≈
          (0.5 + 1.125 + (10 - 2) + (18 - 2)) / 4

    @test balanced_weights([10, 30, 0]) == [2, 2 / 3, 1]
    @test occursin("label_smoothing is 2", message(() -> CrossEntropy(label_smoothing = 2)))
    @test occursin("of at least 0", message(() -> CrossEntropy(class_weights = [-1, 2])))
    @test occursin("huber_delta", message(() -> Huber(delta = 0)))
    @test occursin(
        "class_weights holds 2 numbers; expected one for each of the model's 3 classes",
        message(
            () -> LayerEngine(Chain(Dense(4 => 3)), CrossEntropy(class_weights = [1, 2]),
                (4,), 2)
        ))
end

bytes_of_gradients(e, g, w, x, y) =
    (valgrad!(e, g, w, x, y); @allocated valgrad!(e, g, w, x, y))

@testset "the engines agree on $(nameof(typeof(loss)))" for (loss, y) in (
    (CrossEntropy(class_weights = [1, 2, 0.5], label_smoothing = 0.1), rand(0:2, 8)),
    (CrossEntropy(class_weights = [0, 2, 1]), rand(0:2, 8)),
    (CrossEntropy(label_smoothing = 0.3), rand(0:2, 8)),
    (BinaryCrossEntropy(class_weights = [1, 4], label_smoothing = 0.1), rand(0:1, 3, 8)),
    (Huber(delta = 0.7), randn(Float32, 3, 8)))
    model = Chain(Dense(5 => 7, tanh), Dense(7 => 3))
    fast, zygote = LayerEngine(model, loss, (5,), 8), ZygoteEngine(model, loss)
    x, θ = randn(Float32, 5, 8), flatten(model)
    w, g, exact = to_engine!(similar(θ), fast, θ), similar(θ), similar(θ)
    y = targets(loss, y)
    @test valgrad!(fast, g, w, x, y) ≈ valgrad!(zygote, exact, θ, x, y) rtol = 1e-5
    @test to_model!(similar(θ), fast, g) ≈ exact rtol = 1e-5
    @test bytes_of_gradients(fast, g, w, x, y) == 0
end

@testset "options of the loss" begin
    y = [0, 0, 0, 1, 1, 2]
    x = randn(Xoshiro(1), Float32, 4, 6)
    data = Dataset(x, y, x, y)
    small(; kw...) = FedFlux.run(; dataset = data, model = "softmax_regression",
        clients = 2, rounds = 2, kw...)
    balanced = small(class_weights = "balanced")
    @test balanced.federation.loss.class_weights ≈ [2 / 3, 1, 2]
    given = small(class_weights = [2 / 3, 1, 2])
    @test given.params_sha256 == balanced.params_sha256 != small().params_sha256
    @test occursin("expected one for each of the model's 3 classes",
        message(() -> small(class_weights = [1, 2])))
    @test small(label_smoothing = 0.1).federation.loss.label_smoothing == 0.1f0
    numbers = Dataset(x, Float32.(y), x, Float32.(y))
    r = FedFlux.run(dataset = numbers, model = "softmax_regression", clients = 2,
        rounds = 2, loss = "huber", huber_delta = 0.5)
    @test r.federation.loss == Huber(delta = 0.5) && r.trainer == "fast"
    @test r.history[end].accuracy === nothing
end

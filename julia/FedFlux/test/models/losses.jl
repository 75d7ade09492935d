using FedFlux: count_right!, checklabels, classes, targets

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

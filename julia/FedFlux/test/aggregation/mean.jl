using FedFlux: start, add!, finish

@testset "the mean is the weighted mean" begin
    updates = [randn(Xoshiro(i), Float32, 50) for i = 1:7]
    weights = [3, 1, 4, 1, 5, 9, 2]
    acc = start(Mean(), 7)
    for i = 1:7
        buffer = copy(updates[i])
        acc = add!(Mean(), acc, Update(; delta = buffer, extra = 2buffer), weights[i])
        fill!(buffer, NaN)      # the caller may reuse it
    end
    ū = finish(Mean(), acc)
    expected = sum(weights .* updates) / sum(weights)
    @test ū.delta ≈ expected rtol = 1e-6
    @test ū.extra ≈ 2expected rtol = 1e-6
    @test finish(Mean(), start(Mean(), 0)) === nothing
end

"Stream `n` equal updates, each with the weight 3."
function stream_equal(a, u, n)
    acc = start(a, n)
    for _ = 1:n
        acc = add!(a, acc, u, 3)
    end
    return finish(a, acc)
end

@testset "a million equal updates have the mean of one" begin
    u = Update(; delta = Float32[0.1, -1/3, 1.0f-8, 3.0f38], stats = Float32[0.7],
        metrics = (; work = Float32[0.3]))
    @test stream_equal(Mean(), u, 10^6) == u
    short = Update(; delta = Float32[0.1, -1/3, 1.0f-8], stats = Float32[0.7],
        metrics = (; work = Float32[0.3]))
    @test stream_equal(NormClipping(10.0), short, 10^6) == short
    clipped = stream_equal(NormClipping(0.1), short, 10^6)
    norm = sqrt(0.01 + 1 / 9 + 0.49)
    @test clipped.delta ≈ short.delta .* 0.1 ./ norm rtol = 2e-7
    @test clipped.metrics == short.metrics
end

@testset "the mean is right to Float32's last digits, and adding allocates nothing" begin
    rng = Xoshiro(3)
    n, d = 2000, 300
    X, weights = randn(rng, Float32, d, n), 100 .* rand(rng, n)
    expected = [sum(weights .* X[r, :]) / sum(weights) for r = 1:d]
    size_of_terms = [sum(weights .* abs.(X[r, :])) / sum(weights) for r = 1:d]
    for a in (Mean(), NormClipping(1000.0))
        acc = start(a, n)
        for i = 1:n
            acc = add!(a, acc, Update(; delta = X[:, i]), weights[i])
        end
        ū = finish(a, acc)
        @test ū.delta isa Vector{Float32}
        @test all(
            abs.(ū.delta .- expected) .<=
            1e-7 .* abs.(expected) .+ 1e-14 .* size_of_terms
        )
        u = Update(; delta = zeros(Float32, 10^6))
        acc = add!(a, start(a, 3), u, 1.0)
        add!(a, acc, u, 1.0)
        @test (@allocated add!(a, acc, u, 1.0)) < 10_000
    end
end

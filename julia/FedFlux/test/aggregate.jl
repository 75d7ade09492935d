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

@testset "CKKS is Python's" begin
    @test occursin("run pip install 'fedflux[he]'", message(() -> CKKS()))
    @test occursin("start the run from Python",
        message(() -> FedFlux.run(; dataset = "digits", aggregate = "ckks")))
end

# The parties without encryption: what Julia does with their sum. tests/test_he.py has the
# real ones.
struct PlainParties end
FedFlux.encrypted_sum(::PlainParties, vectors, shares) =
    (sum(shares .* vectors), (; bytes_up = 300, bytes_sum = 100, seconds_add = 0.5))

@testset "CKKS: every part of an update is encrypted, with its weight" begin
    FedFlux.CKKS_PARTIES[] =
        (degree, bits, scale) ->
            (degree, bits, scale) == (8192, [60, 60], 40) ? PlainParties() : nothing
    a = FedFlux.build("aggregate", "ckks")
    @test a isa CKKS && repr(a) == "CKKS(8192, [60, 60], 40)"
    update(rng) = Update(; delta = randn(rng, Float32, 7), dc = randn(rng, Float32, 7),
        stats = randn(rng, Float32, 3), metrics = (; work = randn(rng, Float32, 1)))
    updates, weights = [update(Xoshiro(k)) for k = 1:4], [3, 1, 0, 9]
    acc = start(a, 5)
    @test FedFlux.report(a, acc) == (;)
    for (u, w) in zip(updates, weights)
        buffer = map(copy, u)
        acc = add!(a, acc, buffer, w)
        map(v -> fill!(v, NaN32), buffer)      # the caller may reuse it
    end
    ū, plain = finish(a, acc), combine_updates(Mean(), updates; weights)
    @test FedFlux.shape(ū) == FedFlux.shape(plain)
    @test all(((x, y),) -> isapprox(x, y; rtol = 1e-6), zip(FedFlux.parts.((ū, plain))...))
    told = FedFlux.report(a, acc)
    @test told.bytes_up == 300 && told.bytes_down == 500      # the cohort's five clients
    @test told.seconds_add == 0.5 && told.error < 1e-15
    @test FedFlux.error_of([1.0, 2.0], [Float32[0, 2], Float32[4, 2]], [1, 0.5]) ≈ 1 / 3
    @test finish(a, start(a, 3)) === nothing
    nobody = add!(a, start(a, 1), updates[1], 0)
    @test finish(a, nobody) === nothing
    for rule in ("topk(fraction=0.1)", "sketch(rows=3, cols=40, k=10)", "afl", "qffl",
        "prune(sparsity=0.5, stop=2)")
        r = FedFlux.build("rule", rule)
        @test occursin("and aggregate CKKS don't go together",
            message(() -> FedFlux.check_aggregator((r,), a)))
    end
    FedFlux.CKKS_PARTIES[] = nothing
end

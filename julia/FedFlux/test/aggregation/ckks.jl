using FedFlux: start, add!, finish, build, parts, report, shape

@testset "CKKS is Python's" begin
    @test occursin("run pip install 'fedflux[he]'", message(() -> CKKS()))
    @test occursin("start the run from Python",
        message(() -> FedFlux.run(; dataset = "digits", aggregate = "ckks")))
end

# The parties without encryption: what Julia does with their sum. test_parties.py has the
# real ones.
struct PlainParties end
FedFlux.encrypted_sum(::PlainParties, vectors, shares) =
    (sum(shares .* vectors), (; bytes_up = 300, bytes_sum = 100, seconds_add = 0.5))

@testset "CKKS: every part of an update is encrypted, with its weight" begin
    FedFlux.CKKS_PARTIES[] =
        (degree, bits, scale) ->
            (degree, bits, scale) == (8192, [60, 60], 40) ? PlainParties() : nothing
    a = build("aggregate", "ckks")
    @test a isa CKKS && repr(a) == "CKKS(8192, [60, 60], 40)"
    update(rng) = Update(; delta = randn(rng, Float32, 7), dc = randn(rng, Float32, 7),
        stats = randn(rng, Float32, 3), metrics = (; work = randn(rng, Float32, 1)))
    updates, weights = [update(Xoshiro(k)) for k = 1:4], [3, 1, 0, 9]
    acc = start(a, 5)
    @test report(a, acc) == (;)
    for (u, w) in zip(updates, weights)
        buffer = map(copy, u)
        acc = add!(a, acc, buffer, w)
        map(v -> fill!(v, NaN32), buffer)      # the caller may reuse it
    end
    ū, plain = finish(a, acc), combine_updates(Mean(), updates; weights)
    @test shape(ū) == shape(plain)
    @test all(((x, y),) -> isapprox(x, y; rtol = 1e-6), zip(parts.((ū, plain))...))
    told = report(a, acc)
    @test told.bytes_up == 300 && told.bytes_down == 500      # the cohort's five clients
    @test told.seconds_add == 0.5 && told.error < 1e-15
    @test FedFlux.error_of([1.0, 2.0], [Float32[0, 2], Float32[4, 2]], [1, 0.5]) ≈ 1 / 3
    @test finish(a, start(a, 3)) === nothing
    nobody = add!(a, start(a, 1), updates[1], 0)
    @test finish(a, nobody) === nothing
    for rule in ("topk(fraction=0.1)", "sketch(rows=3, cols=40, k=10)", "afl", "qffl",
        "prune(sparsity=0.5, stop=2)")
        r = build("rule", rule)
        @test occursin("and aggregate CKKS don't go together",
            message(() -> FedFlux.check_aggregator((r,), a)))
    end
    FedFlux.CKKS_PARTIES[] = nothing
end

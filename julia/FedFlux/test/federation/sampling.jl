include("../setup/ten_clients.jl")
using FedFlux: AlwaysAvailable, AvailabilityTrace, PoissonSampling, RandomAvailability,
    RoundRobin, UniformSampling,
    WeightedSampling, available, draw_cohort

clients_of_sizes(sizes) = (
    n = sum(sizes);
    stops = cumsum(sizes);
    Clients(zeros(Float32, 1, n), zeros(n), [(s-k+1):s for (s, k) in zip(stops, sizes)])
)
function cohorts(
    sampling,
    sizes,
    n;
    availability = AlwaysAvailable(),
    rounds = 3000,
    seed = 1
)
    c, s = clients_of_sizes(sizes), CohortSampling(n; sampling, availability)
    return [draw_cohort(s, c, n, seed, round) for round = 1:rounds]
end
often(cs, N) = [count(k in c for c in cs) for k = 1:N]
# Binomial, five deviations.
near(counts, p, rounds) =
    all(abs.(counts .- p .* rounds) .<= 5 .* sqrt.(rounds .* p .* (1 .- p)))

@testset "uniform" begin
    @test cohorts(UniformSampling(), ones(Int, 5), 5; rounds = 3) == fill(1:5, 3)
    cs = cohorts(UniformSampling(), ones(Int, 20), 4)
    @test all(c -> length(c) == 4 && issorted(c) && allunique(c), cs) &&
          near(often(cs, 20), 0.2, 3000)
    @test cs == cohorts(UniformSampling(), ones(Int, 20), 4) !=
          cohorts(UniformSampling(), ones(Int, 20), 4; seed = 2)
    # docs/random-streams.md: stream (seed, 3, round, 0) shuffles 1..N; the first n, sorted
    @test cs[7] == sort(shuffle!(Stream(1, :cohort, 7), collect(1:20))[1:4])
end

@testset "poisson" begin
    cs = cohorts(PoissonSampling(0.1), ones(Int, 12), 3)
    @test near(often(cs, 12), 0.1, 3000)
    # Independent: sizes are binomial.
    @test near([count(isempty, cs)], 0.9^12, 3000)
    @test near([count(c -> length(c) == 2, cs)], binomial(12, 2) * 0.1^2 * 0.9^10, 3000)
    @test near(often(cohorts(PoissonSampling(), ones(Int, 12), 3), 12), 0.25, 3000)
    @test cohorts(PoissonSampling(1.0), ones(Int, 4), 1; rounds = 2) == fill(1:4, 2)
end

@testset "weighted" begin
    sizes = [1, 2, 3, 4]
    @test near(often(cohorts(WeightedSampling(), sizes, 1), 4), sizes ./ 10, 3000)
    # two without replacement: p_k + Σ_j p_j p_k/(1 - p_j)
    p = sizes ./ 10
    both = [p[k] + sum(p[j] * p[k] / (1 - p[j]) for j = 1:4 if j != k) for k = 1:4]
    cs = cohorts(WeightedSampling(), sizes, 2)
    @test all(c -> length(c) == 2 && allunique(c), cs) && near(often(cs, 4), both, 3000)
end

@testset "round robin" begin
    @test cohorts(RoundRobin(), ones(Int, 5), 2; rounds = 5) ==
          [[1, 2], [3, 4], [1, 5], [2, 3], [4, 5]]
end

@testset "availability" begin
    cs = cohorts(
        UniformSampling(),
        ones(Int, 10),
        10;
        availability = RandomAvailability(0.3)
    )
    @test near(often(cs, 10), 0.3, 3000) &&
          near([count(c -> 1 in c && 2 in c, cs)], 0.09, 3000)
    trace = AvailabilityTrace(Bool[1 0 0; 1 1 0; 0 1 0])
    @test [available(trace, 3, r, nothing) for r = 1:4] == [[1, 2], [2, 3], [], [1, 2]]
    for sampling in
        (UniformSampling(), PoissonSampling(0.9), WeightedSampling(), RoundRobin())
        cs = cohorts(sampling, [1, 2, 3], 2; availability = trace, rounds = 300)
        @test all(round -> issubset(cs[round], available(trace, 3, round, nothing)), 1:300)
        @test sum(length, cs) > 200 && isempty(cs[3])
    end
    mktempdir() do dir
        path = joinpath(dir, "trace.csv")
        write(path, "1,1,0\n0 1 1\n\n000\n")
        @test AvailabilityTrace(path).available == trace.available
        write(path, "101\n10\n")
        @test occursin("line 2 of", message(() -> AvailabilityTrace(path)))
        write(path, "1012\n")
        @test occursin("contains '2'", message(() -> AvailabilityTrace(path)))
        @test occursin(
            "there is no file",
            message(() -> AvailabilityTrace(joinpath(dir, "missing")))
        )
    end
    @test occursin(
        "trace is for 3 clients, and there are 4",
        message(() -> cohorts(UniformSampling(), ones(Int, 4), 2; availability = trace))
    )
end

@testset "a round without clients changes nothing and is recorded" begin
    run(; kw...) = FedFlux.run(;
        dataset = "digits",
        clients = 4,
        model = "softmax_regression",
        lr = 0.5,
        kw...
    )
    nobody = message(() -> run(rounds = 2, sampling = "poisson(rate=0)"))
    @test occursin("nobody trained in any of the 2 rounds", nobody) &&
          occursin("poisson(rate=0)", nobody)
    mktempdir() do dir
        path = joinpath(dir, "trace")
        write(path, "1111\n0000\n")
        once = run(rounds = 1)
        twice = run(rounds = 2, availability = "trace(path=\"$path\")")
        @test twice.params_sha256 == once.params_sha256 &&
              [r.clients for r in twice.history] == [4, 0]
        empty = twice.history[2]
        @test isnan(empty.train_loss) && empty.bytes_up == 0 && empty.test_loss !== nothing
        @test occursin("round 2: no clients", repr(empty)) &&
              FedFlux.asdict(empty)["train_loss"] === nothing
    end
    @test run(rounds = 3, sampling = "round_robin", clients_per_round = 2).params_sha256 !=
          run(rounds = 3, clients_per_round = 2).params_sha256
    weighted = run(rounds = 1, sampling = "weighted", availability = "random(p=0.5)")
    @test weighted.history[1].clients <= 4
end

@testset "a Poisson cohort is what was drawn" begin
    many = Clients(TEN_X, TEN_Y, [k:(k+2) for k = 1:3:120])
    f = ten_federated()
    pool = WorkerPool(f, many; threads = 1)
    sampling = CohortSampling(4; sampling = PoissonSampling())
    _, history, _ = fit!(f, State(f, pool), many; rounds = 60, sampling, pool)
    drawn = [length(draw_cohort(sampling, many, 4, f.seed, r)) for r = 1:60]
    @test [r.clients for r in history] == drawn && maximum(drawn) > 4
    @test all(r -> isempty(r.dropped), history)
end

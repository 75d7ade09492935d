# Client-level and local differential privacy: what is clipped, added and claimed.
using FedFlux: adapted, clip_update, guarantee, PoissonSampling, RoundRobin, total_norm,
    update_noise, WorkerPool

x, y = blobs(120)
clients = Clients(x, y, [k:(k+2) for k = 1:3:120])
linear() = softmax_regression(6, 3; rng = Stream(1, :init))
private(r; kw...) = Federated(linear(); rules = (r,), weights = :uniform, batchsize = 3,
    optimizer = Descent(0.2f0), seed = 6, kw...)

function fitted(f; rounds = 3, sampling = CohortSampling(4; sampling = PoissonSampling()),
    kw...)
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    _, history, stopped = fit!(f, st, clients; rounds, sampling, pool, test = (x, y),
        warn = Returns(nothing), kw...)
    return st, history, stopped
end

@testset "one client more or less changes the sum by at most the clip" begin
    rng = Xoshiro(1)
    update() = Update(; delta = 10.0f0^rand(rng, -3:3) .* randn(rng, Float32, 40),
        dc = randn(rng, Float32, 40), stats = randn(rng, Float32, 7),
        metrics = (; told = randn(rng, Float32, 2)))
    flat(u) = Float64.(reduce(vcat, FedFlux.parts(u)))
    for c in (0.01, 1.0, 50.0), _ = 1:200
        @test sqrt(sum(abs2, flat(clip_update(update(), c)))) <= c
    end
    small = Update(; delta = Float32[0.3, 0.4])
    @test clip_update(small, 0.51) == small && clip_update(small, 0.25).delta ≈ [0.15, 0.2]
    for bad in (NaN32, Inf32, -Inf32), part = 1:4
        u = update()
        FedFlux.parts(u)[part][1] = bad
        @test all(iszero, flat(clip_update(u, 1.0)))
    end
    large = Update(; delta = fill(1.0f30, 40))       # whose squares overflow a Float32
    @test sqrt(sum(abs2, flat(clip_update(large, 1.0)))) ≈ 1 rtol = 1e-6
    zero_update = Update(; delta = zeros(Float32, 3))
    @test clip_update(zero_update, 1.0) == zero_update
    # In a run: with and without client 1, or with its data turned into NaN.
    sums = map((x, 100 .* x, x .* NaN32)) do data
        others = Clients([data[:, 1:3] x[:, 4:end]], y, clients.order, clients.starts)
        f = private(ClientDP(clip = 0.1, noise_multiplier = 1e-4, reproducible = true))
        pool = WorkerPool(f, others; threads = 1)
        map((1:4, 2:4)) do cohort
            st = State(f, pool)
            before = copy(st.θ)
            round!(f, st, others, cohort; pool, expected = 4)
            4 .* (st.θ .- before)
        end
    end
    for (with, without) in sums
        @test sqrt(sum(abs2, with .- without)) <= 0.1 + 1e-3
    end
    @test sums[3][1] ≈ sums[3][2] atol = 1e-6        # NaN counts as zero
end

"What the server adds in many rounds in which nobody takes part, in units of σ."
function drawn_noise(r, rounds; expected = 8)
    f = private(r)
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    mapreduce(vcat, 1:rounds) do _
        before = copy(st.θ)
        _, metrics = round!(f, st, clients, Int[]; pool, expected)
        @test metrics.skipped === nothing && metrics.clients == 0
        (st.θ .- before) .* expected ./ (r.clip * update_noise(r, expected))
    end
end

@testset "the noise on the sum: N(0, (zC)²), reproducible $reproducible" for reproducible in
                                                                             (true, false)

    for r in (ClientDP(; clip = 0.5, noise_multiplier = 2.0, reproducible),
        ClientDP(; clip = 3.0, noise_multiplier = 0.7, reproducible))
        z = drawn_noise(r, 600)                          # 21 values each: 12,600 draws
        @test abs(mean(z)) < 5 / sqrt(length(z))
        @test abs(var(z) - 1) < 5 * sqrt(2 / length(z))
        @test abs(mean(z .^ 3)) < 5 * sqrt(15 / length(z))
        @test abs(mean(z .^ 4) - 3) < 5 * sqrt(96 / length(z))
        normal(v) = FedFlux.erfc(-v / sqrt(2)) / 2
        worst = maximum(abs.(normal.(sort(z)) .- (1:length(z)) ./ length(z)))
        @test worst < 2.2 / sqrt(length(z))              # Kolmogorov and Smirnov
        @test length(unique(z)) > 0.99 * length(z)       # not the same in each round
    end
end

@testset "SCAFFOLD's cₖ are what was sent: $(typeof(r))" for r in
                                                             (
    ClientDP(; clip = 0.01, noise_multiplier = 1e-9, reproducible = true),
    LocalDP(; clip = 0.05, noise_multiplier = 1.0, reproducible = true))

    f = Federated(linear(); rules = (Scaffold(), r), weights = :uniform, batchsize = 3,
        optimizer = Descent(0.2f0), seed = 6)
    st, = fitted(f; rounds = 6, sampling = CohortSampling(40))
    i = findfirst(rule -> rule isa Scaffold, f.rules)
    @test st.shared[i] ≈ mean(st.private[k][i] for k = 1:40) rtol = 1e-3
    @test sqrt(sum(abs2, st.shared[i])) > 1e-4
end

@testset "seeded noise is the same again, secret noise is not" begin
    run(r) = fitted(private(r))[1].θ
    seeded = ClientDP(; reproducible = true)
    @test run(seeded) == run(seeded)
    @test run(ClientDP()) != run(ClientDP())
    @test run(LocalDP(; reproducible = true)) == run(LocalDP(; reproducible = true))
    @test run(LocalDP()) != run(LocalDP())
end

@testset "the public denominator: the expected size of a cohort, not who came" begin
    f = private(ClientDP(; clip = 100.0, noise_multiplier = 1e-9, reproducible = true))
    plain = Federated(linear(); weights = :uniform, batchsize = 3,
        optimizer = Descent(0.2f0), seed = 6)
    step(f, expected) = begin
        pool = WorkerPool(f, clients; threads = 1)
        st = State(f, pool)
        before = copy(st.θ)
        round!(f, st, clients, 1:5; pool, expected)
        st.θ .- before
    end
    @test step(f, 10) ≈ step(plain, 10) ./ 2 rtol = 1e-4
    @test step(f, 5) ≈ step(plain, 5) rtol = 1e-4
end

@testset "adaptive clipping: Andrew et al.'s vectors" begin
    # Without noise, from the records' norms (tensorflow/privacy's tests).
    function clips(norms, C, rounds; kw...)
        r = ClientDP(; clip = C, count_noise = 1.0, kw...)
        return accumulate(1:rounds; init = C) do C, _
            adapted(r, C, mean(norms .<= C))
        end
    end
    falling = clips([5, 2.5], 16.0, 4; quantile = 1e-12, clip_lr = log(2))
    @test falling ≈ [8, 4, sqrt(8), 2] atol = 1e-9
    @test clips([5, 2.5], 2.0, 1; quantile = 1e-12, clip_lr = log(2)) ≈ [2] atol = 1e-9
    @test clips([1.5, 3], 0.5, 5; quantile = 1 - 1e-12, clip_lr = log(2)) ≈
          [1, 2, sqrt(8), 4, 4] atol = 1e-9
    @test adapted(ClientDP(; quantile = 0.2), 3.0, 0.5) ≈ 2.825293600752746 atol = 1e-9
    # Both mechanisms together cost what z says: 1/z² = 1/z_u² + 1/(2σ_b)².
    r = ClientDP(; noise_multiplier = 1.5, quantile = 0.5)
    @test 1 / update_noise(r, 40)^2 + 1 / (2 * 40 / 20)^2 ≈ 1 / 1.5^2
    @test occursin("adaptive clip is 0.5; expected more",
        message(() -> fitted(private(ClientDP(; quantile = 0.5, count_noise = 0.5)))))
    # In rounds C goes to the median norm, with the noise that it should have.
    r = ClientDP(; clip = 30.0, noise_multiplier = 0.5, quantile = 0.5, clip_lr = 0.5,
        count_noise = 1.0, reproducible = true)
    sampling = CohortSampling(40)
    pool = WorkerPool(private(r), clients; threads = 1)
    st, = fitted(private(r); rounds = 30, sampling)
    C = st.shared[1].clip
    norms = map(1:40) do k
        f = Federated(linear(); batchsize = 3, optimizer = Descent(0.2f0), seed = 6)
        one = State(f, pool)
        copyto!(one.θ, st.θ)
        one.round = st.round
        round!(f, one, clients, [k]; pool)
        sqrt(sum(abs2, one.θ .- st.θ))
    end
    @test 0.2 < mean(norms .<= C) < 0.8
end

@testset "ε after each round is the accountant's" begin
    r = ClientDP(; noise_multiplier = 1.3, delta = 1e-4)
    _, history, _ = fitted(private(r); rounds = 5)
    want(n; kw...) = epsilon(; noise_multiplier = 1.3, steps = n, delta = 1e-4, kw...)
    @test [h.epsilon for h in history] ≈ [want(n; sampling_rate = 0.1) for n = 1:5]
    _, history, _ = fitted(private(r); sampling = CohortSampling(4))
    @test last(history).epsilon ≈ want(3; sampling_rate = 0.1, sampling = :fixed)
    for sampling in (CohortSampling(40), CohortSampling(4; sampling = RoundRobin()))
        _, history, _ = fitted(private(r); sampling)
        @test last(history).epsilon ≈ want(3; sampling = :none)
    end
    availability = FedFlux.RandomAvailability(0.5)
    _, history, _ = fitted(private(r); sampling = CohortSampling(4; availability))
    @test last(history).epsilon ≈ want(3; sampling = :none)
    local_dp = LocalDP(; noise_multiplier = 8.0)
    _, history, _ = fitted(private(local_dp))
    @test last(history).epsilon ≈
          epsilon(; noise_multiplier = 4.0, steps = 3, delta = 1e-5, sampling = :none)
    _, history, _ = fitted(Federated(linear(); batchsize = 3))
    @test all(h -> h.epsilon === nothing, history)
end

@testset "a run ends before it exceeds its budget" begin
    cost(n) =
        epsilon(; noise_multiplier = 1.0, sampling_rate = 0.1, steps = n, delta = 1e-5)
    f = private(ClientDP(; budget = (cost(6) + cost(7)) / 2))
    _, history, stopped = fitted(f; rounds = 100)
    @test (length(history), stopped) == (6, "budget") && last(history).accuracy !== nothing
    @test occursin(
        "one round costs",
        message(() -> fitted(private(ClientDP(; budget = 0.1))))
    )
end

@testset "a claim that would not hold is refused" begin
    dp = ClientDP()
    refused(;
        rule = dp,
        rules = (rule,),
        m = linear(),
        sampling = CohortSampling(4),
        kw...
    ) =
        message() do
            f = Federated(m; rules, weights = :uniform, batchsize = 3, kw...)
            fit!(f, State(f, WorkerPool(f, clients; threads = 1)), clients; rounds = 1,
                sampling)
        end
    @test occursin("give weights = \"uniform\"", refused(; weights = :samples))
    @test occursin("overselect", refused(; faults = Faults(; overselect = 1.5)))
    @test occursin("min_updates", refused(; faults = Faults(; min_updates = 2)))
    weighted = CohortSampling(4; sampling = FedFlux.WeightedSampling())
    @test occursin("WeightedSampling", refused(; sampling = weighted))
    for aggregate in
        (Median(), Krum(0), NormClipping(1.0), CenteredClipping(1.0), FLTrust())
        @test occursin("is none", refused(; aggregate))
    end
    for other in (FedNova(), QFFL(), AFL(), FedBuff(), TopK(0.1), Quantize(4))
        @test occursin("don't go together", refused(; rules = (dp, other)))
    end
    @test occursin("only one", refused(; rules = (dp, LocalDP())))
    normed = Chain(Dense(6 => 4), BatchNorm(4), Dense(4 => 3))
    @test occursin("GroupNorm", refused(; m = normed))
    @test refused(; m = normed, rules = (dp, FedBN())) == "no error was thrown"
    for (r, word) in (ClientDP(clip = 0) => "clip is 0.0",
        ClientDP(noise_multiplier = NaN) => "noise_multiplier is NaN",
        ClientDP(delta = 1) => "delta is 1.0", ClientDP(quantile = 2) => "quantile is 2.0",
        ClientDP(budget = -1) => "budget is -1.0", LocalDP(clip = Inf) => "clip is Inf")
        @test occursin(word, refused(; rule = r))
    end
end

@testset "private statistics stay as they are, and get no noise" begin
    normed = Chain(Dense(6 => 4), BatchNorm(4, relu), Dense(4 => 3))
    f = Federated(normed; rules = (ClientDP(; reproducible = true), FedBN()), seed = 6,
        weights = :uniform, batchsize = 3, optimizer = Descent(0.1f0))
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    before = copy(st.stats)
    _, history, _ = fit!(f, st, clients; rounds = 20, clients_per_round = 8, pool,
        test = (x, y))
    @test st.stats == before && all(r -> isfinite(r.test_loss), history)
end

@testset "the result says what is promised" begin
    options = (; dataset = "digits", clients = 100, clients_per_round = 10, rounds = 2,
        model = "softmax_regression", sampling = "poisson", weights = "uniform")
    r = FedFlux.run(; options..., rules = "client_dp(clip=0.5, noise_multiplier=1.5)")
    p = r.privacy
    @test p["epsilon"] == last(r.history).epsilon ≈
          epsilon(; noise_multiplier = 1.5, sampling_rate = 0.1, steps = 2, delta = 1e-5)
    @test (p["unit"], p["sampling"], p["sampling_rate"]) == ("one client", "poisson", 0.1)
    @test p["neighbours"] == "with and without the unit" && length(p["not_covered"]) == 3
    @test occursin("secure generator", p["noise"])
    seeded = FedFlux.run(; options..., rules = "client_dp(reproducible=true)").privacy
    @test occursin("an experiment", seeded["noise"])
    local_dp = FedFlux.run(; options..., rules = "local_dp").privacy
    @test local_dp["neighbours"] == "the unit's data replaced by others"
    @test FedFlux.run(; options...).privacy === nothing
end

@testset "with other rules: two threads and a resume give the same bits" begin
    dp = ClientDP(; clip = 0.5, quantile = 0.5, reproducible = true, count_noise = 2.0)
    for rules in ((dp, Scaffold()), (dp, FedProx()), (dp, FedDyn()), (dp, Ditto()),
        (dp, Prune(0.5; stop = 2)), (dp, Download(Quantize(8))))
        f = Federated(linear(); rules, weights = :uniform, batchsize = 3,
            optimizer = Descent(0.1f0), seed = 6)
        sampling = CohortSampling(2; sampling = PoissonSampling())
        run(; parts = (5,), how...) = in_parts(f, clients, sampling, parts; how...)
        θ = run()
        @test all(isfinite, θ) && run(; threads = min(2, Threads.nthreads())) == θ
        mktempdir() do folder
            @test run(; folder, parts = (2, 5)) == θ
        end
    end
end

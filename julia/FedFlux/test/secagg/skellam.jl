# Noise by the clients under secure aggregation: Skellam's law, and what a run spends.
using FedFlux: acceptance, accepts!, accepts_exactly!, log_odds, poisson!, PoissonLaw,
    guarantee, skellam!, statement, WorkerPool
using FedFlux: SpecialFunctions
using .SpecialFunctions: besselix, logabsgamma

"χ² of integers against probabilities, those below `low` and above `high` together."
function chi_square(samples, p, low, high)
    inside = [p(k) for k = low:high]
    below = sum(p, (low-20*(high-low)):(low-1))
    expected = length(samples) .* [below; inside; 1 - below - sum(inside)]
    seen = zeros(length(expected))
    foreach(x -> seen[clamp(x - low + 2, 1, length(seen))] += 1, samples)
    @test minimum(expected) > 2
    return sum((seen .- expected) .^ 2 ./ expected)
end

"What χ² with `k` degrees of freedom exceeds once in 10,000 (Wilson and Hilferty)."
limit_of(k) = k * (1 - 2 / 9k + 3.719 * sqrt(2 / 9k))^3

"Poisson's and Skellam's probabilities."
poisson(k, mean) =
    k < 0 ? 0.0 : exp(k * log(mean) - mean - first(logabsgamma(k + 1.0)))
skellam(k, variance) = besselix(abs(k), variance)

@testset "Poisson numbers of mean $mean" for (mean, low, high) in
                                             ((0.5, 1, 3), (1.0, 1, 4),
    (7.5, 1, 17), (150.5, 115, 188), (2000.5, 1870, 2140))

    r, n, law = SecureRandom(), 40_000, PoissonLaw(mean)
    x = [poisson!(r, law) for _ = 1:n]
    χ²(x) = chi_square(x, k -> poisson(k, mean), low, high)
    @test minimum(x) >= 0 && χ²(x) < limit_of(high - low + 2)
    @test χ²(2 .* x) > limit_of(high - low + 2)          # it can fail
end

@testset "Skellam noise of variance $v" for (v, reach) in ((1, 3), (4, 6), (15, 12),
    (301, 60))

    r, n, law = SecureRandom(), 40_000, PoissonLaw(v / 2)
    x = [skellam!(r, law) for _ = 1:n]
    @test chi_square(x, k -> skellam(k, v), -reach, reach) < limit_of(2reach + 2)
    fourth = 3 + 1 / v                                   # of Skellam's law, over v²
    @test abs(mean(x)) < 4 * sqrt(v / n)
    @test abs(var(x) / v - 1) < 4 * sqrt((fourth - 1) / n)
    # The discrete Gaussian of that variance is another law, where both are small.
    gaussian = [FedFlux.discrete_gaussian!(r, v) for _ = 1:n]
    v > 1 || @test chi_square(gaussian, k -> skellam(k, v), -reach, reach) >
          limit_of(2reach + 2)
end

@testset "large variances: a normal distribution by moments and quantiles" begin
    r, n = SecureRandom(), 20_000
    for v in (2^31 + 1, 2^52)
        law = PoissonLaw(v / 2)
        x = [skellam!(r, law) for _ = 1:n] ./ sqrt(v)
        @test abs(mean(x)) < 4 / sqrt(n) && abs(var(x) - 1) < 4 * sqrt(2 / n)
        @test abs(mean(x .^ 4) - 3) < 4 * sqrt(96 / n)
        @test abs(count(<(1), abs.(x)) / n - 0.682689) < 4 * sqrt(0.22 / n)
    end
end

@testset "the odds that are decided in floating point, to 1e-10 of the true ones" begin
    rng = Xoshiro(1)
    exactly(mean, mode, x) =
        setprecision(320) do
            factorial(k) = first(logabsgamma(big(k) + 1))
            x * log(big(mean)) + factorial(mode) - factorial(mode + x)
        end
    for mean in (0.5, 3.0, 999.5, 1000.0, 1500.5, 1e6, 2.0^31, 2.0^51)
        law = PoissonLaw(mean)
        for x in rand(rng, (-8*law.scale):(8*law.scale), 60)
            law.mode + x < 0 && continue
            true_odds = exactly(mean, law.mode, x)
            true_odds > -30 &&
                @test abs(log_odds(mean, law.mode, x) - Float64(true_odds)) < 1e-10
            # Nothing is proposed too rarely: the largest ratio is what it is taken for.
            @test true_odds + abs(x) / law.scale < law.most
        end
    end
    # What floating point can't decide is decided with more digits, just as well.
    law, r = PoissonLaw(1500.5), SecureRandom()
    for x in (0, 40, -70)
        p = exp(log_odds(law.mean, law.mode, x) + abs(x) / law.scale - law.most)
        @test Float64(acceptance(law, x, 200) / big(2)^200) ≈ p rtol = 1e-9
        exactly!(r, law, x) = accepts_exactly!(r, law, x, rand(r, UInt64))
        for decide in (accepts!, exactly!)
            hits = count(_ -> decide(r, law, x), 1:4000)
            @test abs(hits / 4000 - p) < 4 * sqrt(p * (1 - p) / 4000)
        end
    end
    bits = BigInt(floor(acceptance(law, 40, 64)))
    @test accepts_exactly!(r, law, 40, UInt64(bits - 1))         # just below: certain
    @test !accepts_exactly!(r, law, 40, UInt64(bits + 1))
end

x, y = blobs(120)
clients = Clients(x, y, [k:(k+11) for k = 1:12:120])
federated(a; rules = (), kw...) =
    Federated(softmax_regression(6, 3; rng = Stream(1, :init)); aggregate = a, rules,
        weights = :uniform, batchsize = 12, optimizer = Descent(0.2f0), seed = 6, kw...)

function fitted(f; rounds = 4, n = 10, kw...)
    pool = WorkerPool(f, clients; threads = 1)
    return fit!(f, State(f, pool), clients; rounds, clients_per_round = n, pool,
        warn = Returns(nothing), kw...)
end

# ε from the reports, by the papers' equations: Kairouz et al. 2021, Proposition 14, and
# Agarwal et al. 2021, Corollary 3.6; Canonne et al. 2020, Proposition 12.
const ORDERS = [1 .+ (1:99) ./ 10; 11:63; 128; 256; 512; 1024]

function gaussian_cost(α, Δ, v, d, m)
    τ = 10 * sum(exp(-2π^2 * v * k / (k + 1)) for k = 1:(m-1))
    ε² = min(Δ^2 / (m * v) + 2τ * d / α, (Δ / sqrt(m * v) + τ * sqrt(d))^2)
    l1 = min(sqrt(d) * Δ, Δ^2)
    return α / 2 * min(ε², Δ^2 / (m * v) + 2l1 * τ / sqrt(m * v) + τ^2 * d)
end

function skellam_cost(α, Δ, v, d, m)
    α, μ, l1 = ceil(α), m * v, min(sqrt(d) * Δ, Δ^2)
    return α * Δ^2 / 2μ + min(((2α - 1) * Δ^2 + 6l1) / 4μ^2, 3l1 / 2μ)
end

function epsilon_of(cost, reports, δ)
    there = filter(r -> r.senders > 0, reports)
    spent(α) = sum(r -> cost(α, r.sensitivity, r.variance, r.dimension, r.senders), there)
    return minimum(ORDERS) do α
        max(0, spent(α) + log((α - 1) / α) - log(δ * α) / (α - 1))
    end
end

@testset "ε is of the noise that was there: $law" for (law, cost) in (
    :discrete_gaussian => gaussian_cost, :skellam => skellam_cost)

    a = SecureMean(; noise = 1.5, clip = 0.5, law, delta = 1e-4, drop = 0.03, bits = 12)
    f = federated(a)
    _, history, _ = fitted(f; rounds = 6)
    reports = [r.aggregation for r in history]
    @test any(r -> 0 < r.senders < 10, reports)
    for t = 1:6
        @test history[t].epsilon ≈ epsilon_of(cost, reports[1:t], 1e-4) rtol = 1e-9
    end
    # Beside the Gaussian mechanism with the noise of those who were left.
    accountant = RDPAccountant(; delta = 1e-4)
    foreach(r -> compose!(accountant, 1.5 * sqrt(r.senders / 10), 1.0, :none),
        filter(r -> r.senders > 0, reports))
    @test history[6].epsilon ≈ epsilon(accountant) rtol = 0.02
    # The noise is really there: the models of two runs differ.
    @test fitted(f; rounds = 1)[1].θ != fitted(f; rounds = 1)[1].θ
    p = statement(guarantee(f, CohortSampling(10), clients), 6, reports)
    @test p["epsilon"] == history[6].epsilon && p["delta"] == 1e-4
    @test p["unit"] == "one client's data, in each round that it takes part in"
    @test p["neighbours"] == "a client's updates, or zeros in their place"
    @test p["sampling"] == "none" && p["noise_multiplier"] == 1.5
    @test any(contains("work with the server"), p["not_covered"])
    # Few bits: the noise of single integers, where both laws cost more than a Gaussian.
    coarse = SecureMean(; noise = 0.5, clip = 0.02, law, bits = 6)
    _, history, _ = fitted(federated(coarse); rounds = 1)
    r = only(history)
    @test r.epsilon ≈ epsilon_of(cost, [r.aggregation], 1e-5) rtol = 1e-9
end

@testset "the sum's noise has the variance asked for: Skellam" begin
    a = SecureMean(; noise = 0.8, clip = 0.5, bits = 14, law = :skellam)
    u = Update(; delta = zeros(Float32, 9000), stats = zeros(Float32, 3000))
    acc = FedFlux.start(a, 12, (; seed = UInt64(1), round = 1, max_weight = 1.0))
    foreach(_ -> acc = FedFlux.add!(a, acc, u, 1.0), 1:12)
    ū, told = FedFlux.finish(a, acc, 1), FedFlux.report(a, acc)
    back(v) = round.(Int, Float64.(v) .* (12 * 2.0^13 / 8))
    x = [back(ū.delta); back(ū.stats)]
    Δ = 0.5 * 2^13 / 8 + sqrt(12_000) / 2
    @test told.sensitivity ≈ Δ && told.variance == ceil((0.8Δ)^2 / 12)
    @test told.dimension == 12_000 && told.senders == 12
    @test abs(var(x) / (0.8Δ)^2 - 1) < 4 * sqrt(2 / length(x))
    @test abs(mean(x)) < 4 * 0.8Δ / sqrt(length(x))
end

@testset "rounds that cost nothing, and too few senders" begin
    # Sparse: the graph would go on with few, and the noise planned for all would not do.
    a = SecureMean(; noise = 1.0, clip = 0.5, neighbours = 2, threshold = 0.7, drop = 0.1)
    _, history, _ = fitted(federated(a); rounds = 12)
    aborted = filter(r -> r.skipped !== nothing, history)
    @test 0 < length(aborted) < 12 && all(r -> r.aggregation.senders == 0, aborted)
    @test all(r -> r.aggregation.senders in (0, 7, 8, 9, 10), history)
    @test all(zip(history, history[2:end])) do (before, r)
        r.skipped === nothing ? r.epsilon > before.epsilon : r.epsilon == before.epsilon
    end
    sums(fewest) = FedFlux.secure_sum([UInt32[k] for k = 1:6]; fewest, threshold = 0.5,
        vanishes = [3, 0, 0, 0, 0, 0])
    @test sums(5).sum == UInt32[20] && occursin("6 are needed", sums(6).aborted)
    @test occursin("expected 3 or more", message(() -> sums(2)))
end

@testset "a budget is not exceeded, whoever vanishes; a resume counts on" begin
    budget(law) = SecureMean(; noise = 3.0, clip = 0.5, law, drop = 0.04, threshold = 0.5,
        budget = 4.0)
    for law in (:discrete_gaussian, :skellam)
        _, history, stopped = fitted(federated(budget(law)); rounds = 100)
        @test stopped == "budget" && last(history).epsilon <= 4
        # Another round with half of the senders could have been too much.
        whole = RDPAccountant(; delta = 1e-5)
        foreach(
            r -> compose!(whole, 3 * sqrt(max(r.aggregation.senders, 1e-9) / 10), 1.0,
                :none), filter(r -> r.aggregation.senders > 0, history))
        compose!(whole, 3 * sqrt(0.5), 1.0, :none)
        @test epsilon(whole) > 4 * 0.98
    end
    f = federated(SecureMean(; noise = 1.0, clip = 0.5, budget = 0.1))
    @test occursin("one round costs", message(() -> fitted(f)))
    f = federated(SecureMean(; noise = 2.0, clip = 0.5))
    pool = WorkerPool(f, clients; threads = 1)
    mktempdir() do folder
        _, before, _ = fitted(f; rounds = 2, checkpoints = Checkpoints(folder))
        st, progress = FedFlux.restore(FedFlux.load_checkpoint(folder), f,
            FedFlux.engine(pool))
        _, history, _ = fit!(f, st, clients; rounds = 4, pool, progress)
        @test [r.epsilon for r in history[1:2]] == [r.epsilon for r in before]
        @test history[4].epsilon ≈
              epsilon_of(gaussian_cost, [r.aggregation for r in history], 1e-5)
        # Without the history nobody knows what was spent.
        st, = FedFlux.restore(FedFlux.load_checkpoint(folder), f, FedFlux.engine(pool))
        _, history, _ = fit!(f, st, clients; rounds = 3, pool)
        @test only(history).epsilon == Inf
    end
end

@testset "what would not hold is refused" begin
    a = SecureMean(; noise = 1.0, clip = 0.5)
    for rule in (LocalDP(), DPSGD())
        @test occursin(
            "the history tells one ε",
            message(() -> federated(a;
                rules = (rule,)))
        )
        @test message(() -> federated(SecureMean(); rules = (rule,))) ==
              "no error was thrown"
    end
    # noise would make BatchNorm's variances negative
    normed = Chain(Dense(6 => 4), BatchNorm(4), Dense(4 => 3))
    of(a; rules = ()) = message(() -> Federated(normed; aggregate = a, rules))
    @test occursin("GroupNorm", of(a))
    @test of(a; rules = (FedBN(),)) == of(SecureMean()) == "no error was thrown"
    @test occursin("give weights", message(() -> fitted(federated(a; weights = :samples))))
    @test occursin("there is no noise", message(() -> SecureMean(; budget = 1.0)))
    @test occursin(
        "budget is -1.0",
        message(() -> SecureMean(; noise = 1.0, clip = 1.0,
            budget = -1.0))
    )
    @test occursin("delta is 2.0", message(() -> SecureMean(; delta = 2.0)))
    @test occursin("law is :cauchy", message(() -> SecureMean(; law = :cauchy)))
    @test FedFlux.build("aggregate", "secure(noise=1, clip=1, law=skellam)").law ===
          :skellam
end

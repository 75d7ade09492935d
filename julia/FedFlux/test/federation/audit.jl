# The audit passes the right mechanisms, and finds planted bugs.
using FedFlux: binomial_upper, epsilon_lower, PoissonSampling, proven_epsilons, RoundRobin,
    UniformSampling
import FedFlux: client!, guarantee, hides_cohort, init, nobody_sent, server!

# for k, n, c in …: print(scipy.stats.beta.ppf(c, k + 1, n - k))
const LIMITS = [
    (0, 500, 0.975, 0.007350610051907784),
    (3, 10, 0.95, 0.6066242161054123),
    (17, 250, 0.975, 0.10664383604137127),
    (499, 500, 0.9, 0.9997893011688015),
    (50, 100, 0.5, 0.5049833006154476),
    (0, 1, 0.95, 0.95)
]

@testset "Clopper and Pearson's limits" begin
    for (k, n, confidence, expected) in LIMITS
        @test binomial_upper(k, n, confidence) ≈ expected rtol = 1e-10
    end
    @test binomial_upper(10, 10, 0.95) == 1
    # By their definition: with the limit as its probability, k or fewer are that rare.
    pmf(j, n, p) = binomial(big(n), j) * big(p)^j * (1 - big(p))^(n - j)
    for (k, n) in ((0, 20), (3, 50), (40, 60))
        p = binomial_upper(k, n, 0.975)
        @test sum(pmf(j, n, p) for j = 0:k) ≈ 0.025 rtol = 1e-8
    end
end

@testset "the bound from rates is the Gaussian mechanism's own ε" begin
    # Neyman and Pearson: with N(0, 1) and N(1, 1), some threshold attains ε.
    Q(x) = FedFlux.erfc(x / sqrt(2)) / 2
    for δ in (1e-5, 1e-2, 0.2)
        exact = epsilon(; noise_multiplier = 1.0, steps = 1, delta = δ, sampling = :none,
            accountant = :pld)
        bounds = [epsilon_lower(Q(t), Q(1 - t), δ) for t = -6:0.001:7]
        @test maximum(bounds) ≈ exact rtol = 1e-4
    end
    @test epsilon_lower(0.6, 0.6, 1e-5) == 0
end

@testset "the bound holds as often as it says" begin
    rng, deltas = Xoshiro(3), [1e-5, 0.01, 0.1]
    upper(σ) = [
        epsilon(; noise_multiplier = σ, steps = 1, delta = δ, sampling = :none,
            accountant = :pld) for δ in deltas
    ]
    exceeded(σ, claimed) =
        mean(1:300) do _
            with, without = 1 .+ σ .* randn(rng, 200), σ .* randn(rng, 200)
            any(proven_epsilons(with, without, deltas, claimed, 0.9) .> claimed)
        end
    @test exceeded(1.0, upper(1.0)) <= 0.1
    @test exceeded(0.25, upper(1.0)) > 0.9
end

@testset "right mechanisms are consistent" begin
    fixed = ClientDP(; noise_multiplier = 2.0, reproducible = true)
    adaptive = ClientDP(; noise_multiplier = 1.2, quantile = 0.5, count_noise = 2.0,
        reproducible = true)
    some = (; clients_per_round = 5)
    for (rule, kw) in ((fixed, (;)), (fixed, some), (adaptive, (;)), (adaptive, some),
        (fixed, (; some..., sampling = UniformSampling())),
        (fixed, (; some..., sampling = RoundRobin(), rounds = 8)),
        (LocalDP(; reproducible = true), (;)),
        (LocalDP(; noise_multiplier = 4.0, reproducible = true), (; rounds = 3)))
        a = audit(rule; trials = 400, kw...)
        @test !isbroken(a) && 0 <= a.lower <= a.upper
        @test startswith(string(a), "Audit(consistent: ε ≥ ")
    end
    # A lower bound is worth something only if it isn't always near zero.
    strong = audit(ClientDP(; noise_multiplier = 1.0, reproducible = true); trials = 400)
    @test !isbroken(strong) && strong.lower > 2
    again() = audit(fixed; trials = 40, seed = 5)
    @test again().lower == again().lower
    @test !isbroken(audit(ClientDP(; noise_multiplier = 2.0); trials = 200))     # no seed
end

# Client-level DP with one thing broken, which `bug` names; the rest is ClientDP's. They are
# of one type, so that rounds are compiled once for all.
struct Planted <: Rule
    bug::Symbol
    dp::ClientDP
end
hides_cohort(::Planted) = true
nobody_sent(r::Planted, u) = nobody_sent(r.dp, u)
init(r::Planted, θ) =
    r.bug === :noise_reused ? ((; r.dp.clip, rng = nothing), nothing) : init(r.dp, θ)

function guarantee(r::Planted, f, sampling, clients)
    r.bug === :counts_on_chance || return guarantee(r.dp, f, sampling, clients)
    # Cohorts from the seed, and an ε that counts on chance all the same.
    rate = sampling.clients_per_round / length(clients)
    return FedFlux.Guarantee(; unit = "one client", r.dp.delta, noise = "", why = "",
        accounting = FedFlux.EqualRounds(r.dp.noise_multiplier, rate, :poisson))
end

function client!(r::Planted, s, u, ctx)
    r.bug === :clip_off && return nothing, u
    private, u = client!(r.dp, s, u, ctx)
    r.bug === :weights_uncapped && return private, map(v -> Float32(ctx.samples) .* v, u)
    r.bug === :bit_reversed || return private, u
    return nothing, Update(u; metrics = (; below = -u.metrics.below))
end

function server!(r::Planted, s, ū, ctx)
    r.bug === :divided_twice && return server!(divided_twice(r.dp, ctx), s, ū, ctx)
    r.bug === :noise_reused && return reuse_noise(r.dp, s, ū, ctx)
    r.bug === :trusts_clients && return s.shared, map(v -> rounded(r.dp, v, ctx), ū)
    return server!(r.dp, s, ū, ctx)
end

function divided_twice(dp, ctx)
    settings = (name => getfield(dp, name) for name in fieldnames(ClientDP))
    return ClientDP(; settings..., noise_multiplier = dp.noise_multiplier / ctx.expected)
end

function reuse_noise(dp, s, ū, ctx)
    rng = something(s.shared.rng, copy(ctx.rng))        # the first round's, in all
    shared, ū = server!(dp, s, ū, (; ctx..., rng = copy(rng)))
    return (; shared.clip, rng), ū
end

"The server clips nothing, and rounds the sum before the noise."
function rounded(dp, v, ctx)
    noise = dp.noise_multiplier * dp.clip
    return FedFlux.add_gaussian!(Float32.(ctx.n .* v), noise, ctx.rng) ./
           Float32(ctx.expected)
end

@testset "planted bugs are found" begin
    dp = ClientDP(; noise_multiplier = 2.0, reproducible = true)
    adaptive = ClientDP(; noise_multiplier = 1.2, quantile = 0.5, count_noise = 2.0,
        reproducible = true)
    for kw in ((;), (; clients_per_round = 8))
        found(rule) = audit(rule; trials = 300, kw...)
        @test !isbroken(found(Planted(:none, dp))) &&
              !isbroken(found(Planted(:none, adaptive)))
        for bug in (:divided_twice, :clip_off, :noise_reused, :weights_uncapped)
            a = found(Planted(bug, dp))
            @test isbroken(a) && a.decided.lower > a.decided.upper && isempty(a.findings)
            @test occursin("broken", string(a))
        end
        # A clip that runs away costs utility, not ε: it is a finding of its own.
        a = found(Planted(:bit_reversed, adaptive))
        @test isbroken(a) && a.decided.lower <= a.decided.upper && length(a.findings) == 2
        @test occursin("the adaptive clip should fall", first(a.findings))
        @test occursin("the adaptive clip should rise", last(a.findings))
    end
end

@testset "each attack finds what it is for, which the others don't" begin
    dp = ClientDP(; noise_multiplier = 0.7, reproducible = true)
    few = (; clients = 20, clients_per_round = 2, rounds = 12, trials = 400)
    by(a) = Dict(b.name => b.decided.lower > b.decided.upper for b in a.attacks)
    a = audit(Planted(:counts_on_chance, dp); few...)
    @test isbroken(a) && by(a)["the run's seed known"] && !by(a)["a canary"]
    for rule in (Planted(:none, dp), ClientDP(; noise_multiplier = 0.7))
        @test !isbroken(audit(rule; few...))
    end
    weak = ClientDP(; noise_multiplier = 4.0, reproducible = true)
    a = audit(Planted(:trusts_clients, weak); clients = 10, rounds = 4, trials = 300)
    @test isbroken(a) && by(a)["two hostile clients besides"] && !by(a)["a canary"]
    a = audit(weak; clients = 10, rounds = 4, trials = 300)
    @test !isbroken(a) && length(a.attacks) == 3
    @test length(audit(LocalDP(); rounds = 2, trials = 40).attacks) == 1
end

@testset "settings that can't be audited" begin
    @test FedFlux.promise === guarantee      # its former name, in rules of the user's own
    dp = ClientDP()
    for (f, words) in ((() -> audit(FedProx())) => "FedProx promises no ε",
        (() -> audit(DPSGD())) => "the audit attacks what clients send",
        (() -> audit(dp; trials = 3)) => "trials is 3; expected a number from 20",
        (() -> audit(dp; rounds = 0)) => "rounds is 0; expected 1 or more",
        (() -> audit(dp; seed = -1)) => "seed is -1; expected 0 or more",
        (() -> audit(dp; confidence = 1)) => "confidence is 1; expected at least 0.5",
        (() -> audit(dp; clients_per_round = 21)) => "clients_per_round is 21",
        (() -> audit(dp; sampling = FedFlux.WeightedSampling())) => "WeightedSampling",
        (() -> audit(ClientDP(clip = -1))) => "clip is -1.0")
        @test occursin(words, message(f))
    end
end

@testset "membership inference while a model trains" begin
    # Labels without a pattern can be learned by heart only.
    rng = Xoshiro(2)
    x, y = randn(rng, Float32, 20, 200), rand(rng, 0:1, 200)
    clients = Clients(x[:, 1:100], y[1:100], [1:50, 51:100])
    attacked(; rules = (), rounds = 40, test = (x[:, 101:200], y[101:200]), kw...) = begin
        f = Federated(mlp(20, 2; hidden = (64,), rng = Stream(1, :init)); rules,
            weights = :uniform, epochs = 5, batchsize = 10,
            optimizer = Descent(0.2f0))
        pool = FedFlux.WorkerPool(f, clients; threads = 1)
        st = State(f, pool)
        attack = MembershipInference(f, st, clients, test; pool, kw...)
        _, history, stopped =
            fit!(f, st, clients; rounds, pool, callback = attack, warn = Returns(nothing))
        @test length(history) == length(attack.history) == rounds
        @test stopped == "rounds" && last(attack.history).round == rounds
        attack
    end
    plain = attacked()
    (; auc, accuracy, epsilon) = last(plain.history)
    @test first(plain.history).auc < auc && auc > 0.8 && accuracy > 0.8
    # The limit is of the accuracy's: 100 guesses count.
    p = 1 / (1 + exp(-epsilon))
    pmf(j, n, p) = binomial(big(n), j) * big(p)^j * (1 - big(p))^(n - j)
    @test sum(pmf(j, 100, p) for j = round(Int, 100accuracy):100) ≈ 0.05 rtol = 1e-6
    # The same samples on both sides look alike.
    alike = last(attacked(; rounds = 2, test = (x[:, 1:100], y[1:100])).history)
    @test alike.auc == 0.5 && alike.accuracy == 0.5 && alike.epsilon == 0
    # Noise hides who was there.
    noisy = attacked(; rules = (ClientDP(; noise_multiplier = 1.0, reproducible = true),))
    @test 0.3 < last(noisy.history).auc < 0.7
    @test occursin(
        "there are 100 and 3",
        message(() -> attacked(; test = (x[:, 1:3], y[1:3])))
    )
end

# DP-FTRL: the noise of the tree, what a client spends, and what is refused.
using FedFlux:
    covering_nodes, next_noise, PoissonSampling, RoundRobin, tree_noise,
    WorkerPool
import FedFlux: chain_position, client!, guarantee, server!

const C, Z = 0.5, 3.0

# Sends, whatever it was given, what follows from the client and the round.
struct Sends <: Rule
    factor::Float32
end
Sends() = Sends(1)
chain_position(::Sends) = 1
function client!(r::Sends, s, u, ctx)
    rng = Xoshiro(97 * ctx.client + ctx.round)
    return nothing, Update(u; delta = r.factor .* randn(rng, Float32, length(u.delta)))
end

features = 600
clients = Clients(zeros(Float32, features, 8), zeros(Int, 8), [k:k for k = 1:8])
model = softmax_regression(features, 3; rng = Stream(1, :init))
federated(rules...; seed = 6, kw...) =
    Federated(model; rules, seed, weights = :uniform, batchsize = 1,
        optimizer = Descent(0.1f0), kw...)
turns(n; kw...) = CohortSampling(n; sampling = RoundRobin(), kw...)

"The sums over rounds 1 to t of what the server publishes, times the size of a cohort."
function prefix_sums(f, rounds, cohort; expected = 2)
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    before = copy(st.θ)
    map(1:rounds) do t
        _, metrics = round!(f, st, clients, cohort(t); pool, expected)
        @test metrics.skipped === nothing
        Float64.(st.θ .- before) .* expected
    end
end

"The rounds of a binary tree that nodes cover, by halving: 1 to t."
function nodes_of(t, first = 1, last = 64)
    t >= last && return [first:last]
    t < first && return UnitRange{Int}[]
    half = (last - first) ÷ 2
    return [nodes_of(t, first, first + half); nodes_of(t, first + half + 1, last)]
end

@testset "the nodes of a prefix" begin
    @test all(covering_nodes(t) == nodes_of(t) for t = 0:63)
    @test covering_nodes(7) == [1:4, 5:6, 7:7]
end

@testset "the noise of each prefix sum, seeded: $seeded" for seeded in (true, false)
    rounds, runs = 13, 8
    dp = DPFTRL(; clip = C, noise_multiplier = Z, reproducible = seeded)
    sums = [prefix_sums(federated(dp; seed), rounds, t -> Int[]) for seed = 1:runs]
    at(t) = reduce(vcat, s[t] for s in sums) ./ (Z * C)         # 14,424 draws
    n = runs * length(sums[1][1])
    @test n > 10_000
    for t = 1:rounds
        z, nodes = at(t), length(nodes_of(t))
        @test abs(mean(z)) < 5 * sqrt(nodes / n)
        @test abs(var(z) / nodes - 1) < 5 * sqrt(2 / n)
        @test abs(mean(z .^ 4) / nodes^2 - 3) < 5 * sqrt(96 / n)
        # Two prefixes share the nodes that both have, and nothing else.
        for s = 1:(t-1)
            shared = length(intersect(nodes_of(s), nodes_of(t)))
            spread = sqrt((length(nodes_of(s)) * nodes + shared^2) / n)
            @test abs(mean(z .* at(s)) - shared) < 5 * spread
        end
    end
    # It can fail: noise that is drawn anew for each round has the variance t.
    @test abs(var(at(8)) / 8 - 1) > 0.5
end

@testset "prefix sums are those without noise, and the tree's noise" begin
    cohort(t) = [mod1(2t - 1, 8), mod1(2t, 8)]
    free = prefix_sums(
        federated(Sends(), ClientDP(; clip = C, noise_multiplier = 1e-9)), 11, cohort)
    f = federated(Sends(), DPFTRL(; clip = C, noise_multiplier = Z, reproducible = true))
    noisy = prefix_sums(f, 11, cohort)
    drawn(t) = FedFlux.add_gaussian!(zeros(Float32, length(free[1])), Z * C,
        Stream(6, :rules, t, 0))
    for t = 1:11
        want = free[t] .+ sum(drawn(last(node)) for node in nodes_of(t))
        @test noisy[t] ≈ want rtol = 1e-5
    end
    @test sqrt(sum(abs2, free[11])) > 0.1
end

@testset "a round that changed nothing: its noise is drawn when it is needed" begin
    rng, shared = Xoshiro(1), (; round = 0, nodes = Vector{Float32}[])
    total = zeros(Float32, 5)
    for t in (2, 3, 7, 8, 12, 13)
        nodes, noise = next_noise(shared, t, 5, 1.0, rng)
        total .+= noise
        @test length(nodes) == length(nodes_of(t))
        @test total ≈ sum(nodes) atol = 1e-5
        kept = length(intersect(nodes_of(shared.round), nodes_of(t)))
        @test nodes[1:kept] == shared.nodes[1:kept]
        shared = (; round = t, nodes)
    end
end

@testset "one client more or less changes a sum by at most the clip" begin
    f = federated(
        Sends(),
        DPFTRL(; clip = 0.1, noise_multiplier = 1e-4,
            reproducible = true)
    )
    with, without = (prefix_sums(f, 1, t -> cohort) for cohort in (1:2, 2:2))
    @test 0.09 < sqrt(sum(abs2, with[1] .- without[1])) <= 0.1 + 1e-3
    for bad in (NaN32, Inf32)           # counts as zeros
        dp = DPFTRL(; reproducible = true)
        @test prefix_sums(federated(Sends(bad), dp), 1, t -> 1:2) ==
              prefix_sums(federated(Sends(0), dp), 1, t -> 1:2)
    end
end

"Σ over the tree's nodes of the square of how many of a client's rounds they hold."
function squared_sensitivity(rounds_of_client, T)
    total = 0
    for l = 0:20, i = 0:(T>>l)
        node = (i<<l+1):((i+1)<<l)
        last(node) <= T && (total += count(in(node), rounds_of_client)^2)
    end
    return total
end

@testset "ε after each round: the tree's, for $n of 8 clients" for n in (1, 2, 3, 8)
    f = federated(DPFTRL(; noise_multiplier = 6.0, delta = 1e-4))
    pool = WorkerPool(f, clients; threads = 1)
    sampling = n == 8 ? CohortSampling(8) : turns(n)
    _, history, _ = fit!(f, State(f, pool), clients; rounds = 19, sampling, pool)
    for (t, r) in enumerate(history)
        want(σ) = epsilon(; noise_multiplier = σ, steps = 1, delta = 1e-4, sampling = :none)
        @test r.epsilon ≈ want(
            tree_noise(6.0, t; participations = cld(t * n, 8),
                min_separation = 8 ÷ n)
        )
        # No client has spent more, in the nodes that its rounds really fall into.
        for k = 1:8
            mine = [s for s = 1:t if k in [mod1((s - 1) * n + i, 8) for i = 1:n]]
            used = squared_sensitivity(mine, t)
            used == 0 || @test want(6 / sqrt(used)) <= r.epsilon * (1 + 1e-9)
        end
        t * n <= 8 && @test r.epsilon ≈ want(6 / sqrt(ceil(log2(t + 1))))
        n == 8 && @test r.epsilon < 1.3 * want(6 / sqrt(squared_sensitivity(1:t, t)))
    end
    @test issorted(r.epsilon for r in history)
end

@testset "a run ends before it exceeds its budget, and says what is promised" begin
    run(rule) = begin
        f = federated(FedFlux.build("rule", rule))
        pool = WorkerPool(f, clients; threads = 1)
        _, history, stopped =
            fit!(f, State(f, pool), clients; rounds = 50, pool, sampling = turns(2))
        f, history, stopped
    end
    f, history, stopped = run("dp_ftrl(clip=0.5, budget=2)")
    ε(t) = epsilon(;
        steps = 1,
        delta = 1e-5,
        sampling = :none,
        noise_multiplier =
        tree_noise(8.0, t; participations = cld(t, 4), min_separation = 4)
    )
    rounds = length(history)
    @test stopped == "budget" && ε(rounds) <= 2 < ε(rounds + 1)
    p = FedFlux.statement(guarantee(f, turns(2), clients), rounds)
    @test p["epsilon"] ≈ ε(rounds) ≈ last(history).epsilon
    @test p["neighbours"] == "a client's updates, or zeros in their place"
    @test p["sampling"] == "none" && p["noise_multiplier"] == 8 && p["unit"] == "one client"
    @test occursin("in one of 4 rounds at most", p["amplification"])
    @test occursin("secure generator", p["noise"])
    @test occursin("one round costs", message(() -> run("dp_ftrl(budget=0.1)")))
end

@testset "with other rules: two threads and a resume give the same bits" begin
    dp = DPFTRL(; clip = 0.5, reproducible = true)
    for rules in ((dp,), (Scaffold(), dp))
        run(; parts = (7,), how...) =
            in_parts(federated(Sends(), rules...; server = FedAdam()), clients, turns(3),
                parts; how...)
        θ = run()
        @test all(isfinite, θ) && run(; threads = min(2, Threads.nthreads())) == θ
        mktempdir() do folder
            @test run(; folder, parts = (3, 6, 7)) == θ
        end
    end
    # Secret noise is another in each run, and a checkpoint holds that of the live nodes.
    secret = prefix_sums.((federated(DPFTRL()), federated(DPFTRL())), 1, t -> Int[])
    @test secret[1] != secret[2]
    f = federated(DPFTRL())
    mktempdir() do folder
        pool = WorkerPool(f, clients; threads = 1)
        st, = fit!(f, State(f, pool), clients; rounds = 3, pool, sampling = turns(2),
            checkpoints = Checkpoints(folder))
        again, = FedFlux.restore(FedFlux.load_checkpoint(folder), f, FedFlux.engine(pool))
        @test again.shared == st.shared && length(st.shared[1].nodes) == 2
    end
end

@testset "a claim that would not hold is refused" begin
    refused(; rules = (DPFTRL(),), sampling = turns(2), kw...) =
        message() do
            f = federated(rules...; kw...)
            fit!(f, State(f, WorkerPool(f, clients; threads = 1)), clients; rounds = 1,
                sampling)
        end
    poisson = CohortSampling(2; sampling = PoissonSampling())
    for sampling in (poisson, CohortSampling(2))
        @test occursin("use sampling = \"round_robin\"", refused(; sampling))
    end
    @test occursin("PoissonSampling there is ClientDP", refused(; sampling = poisson))
    availability = FedFlux.RandomAvailability(0.5)
    @test refused(; sampling = turns(2; availability)) == "no error was thrown"
    @test occursin("give weights = \"uniform\"", refused(; weights = :samples))
    @test occursin("overselect", refused(; faults = Faults(; overselect = 1.5)))
    @test occursin("min_updates", refused(; faults = Faults(; min_updates = 2)))
    for aggregate in (Median(), NormClipping(1.0), SecureMean())
        @test occursin("don't go together", refused(; aggregate))
    end
    for other in (FedNova(), QFFL(), FedBuff(), TopK(0.1), ClientDP(), LocalDP(), DPSGD())
        @test occursin("don't go together", refused(; rules = (DPFTRL(), other)))
    end
    for (r, word) in (DPFTRL(clip = 0) => "rule DPFTRL: clip is 0.0",
        DPFTRL(noise_multiplier = Inf) => "noise_multiplier is Inf",
        DPFTRL(delta = 1) => "delta is 1.0", DPFTRL(budget = -1) => "budget is -1.0")
        @test occursin(word, refused(; rules = (r,)))
    end
end

# DP-FTRL whose noise for a sum is thrown away with the next one: fresh in each round, and
# the last round's subtracted, so that no prefix sum but the last is left with noise.
struct Undone <: Rule
    dp::DPFTRL
end
chain_position(::Undone) = 7
FedFlux.hides_cohort(::Undone) = true
guarantee(r::Undone, f, sampling, clients) = guarantee(r.dp, f, sampling, clients)
client!(r::Undone, s, u, ctx) = client!(r.dp, s, u, ctx)
server!(r::Undone, s, ū, ctx) =
    (
        nothing,
        server!(r.dp, (; shared = (; round = 0, nodes = Vector{Float32}[])), ū,
            (; ctx..., round = 1, rng = Xoshiro(1)))[2]
    )

@testset "the audit: consistent, and broken with the same noise in each round" begin
    dp = DPFTRL(; noise_multiplier = 3.0, reproducible = true)
    settings = (; sampling = RoundRobin(), clients = 4, clients_per_round = 2, rounds = 8,
        trials = 300)
    right = audit(dp; settings...)
    @test !isbroken(right) &&
          right.upper ≈ epsilon(; steps = 1, delta = 1e-5,
        noise_multiplier = tree_noise(3.0, 8; participations = 4, min_separation = 2),
        sampling = :none)
    @test isbroken(audit(Undone(dp); settings...))
    @test occursin("round_robin", message(() -> audit(dp)))
end

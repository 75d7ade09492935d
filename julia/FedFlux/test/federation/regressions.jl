# Cases that once went wrong, where no other test looked.
using FedFlux: draw_cohort, engine, learning_rate, PoissonSampling,
    scheduled, simulate_faults, WorkerPool

x, y = blobs(120)
clients = Clients(x, y, [k:(k+11) for k = 1:12:120])
model() = softmax_regression(6, 3; rng = Stream(1, :init))
normed() = Chain(Dense(6 => 5; init = Flux.glorot_uniform(Stream(1, :init))),
    BatchNorm(5, relu), Dense(5 => 3; init = Flux.glorot_uniform(Stream(2, :init))))
federated(m = model(); kw...) =
    Federated(m; optimizer = Descent(0.1f0), batchsize = 4, trainer = :zygote, seed = 4,
        kw...)

function fitted(f; rounds = 3, kw...)
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    _, history, _ = fit!(f, st, clients; rounds, pool, test = (x, y), kw...)
    return st, history
end

@testset "a Poisson cohort is what was drawn" begin
    many = Clients(x, y, [k:(k+2) for k = 1:3:120])
    f = federated()
    pool = WorkerPool(f, many; threads = 1)
    sampling = CohortSampling(4; sampling = PoissonSampling())
    _, history, _ = fit!(f, State(f, pool), many; rounds = 60, sampling, pool)
    drawn = [length(draw_cohort(sampling, many, 4, f.seed, r)) for r = 1:60]
    @test [r.clients for r in history] == drawn && maximum(drawn) > 4
    @test all(r -> isempty(r.dropped), history)
end

@testset "over-selection drops clients by a draw, not by their number" begin
    counts = zeros(Int, 40)
    for round = 1:300
        responding, _, _ = simulate_faults(Faults(; overselect = 2.0), 1, round, 1:40, 20)
        counts[responding] .+= 1
    end
    @test all(n -> abs(n - 150) < 5 * sqrt(75), counts)      # binomial, five deviations
end

@testset "FLTrust's own update follows the schedule, and no rule adds vectors" begin
    nine = Clients(x, y, [k:(k+11) for k = 1:12:108])
    root = Clients(x, y, nine.order, nine.starts, collect(109:120))
    step() = begin
        f = federated(; aggregate = FLTrust(12), schedule = (StepDecay(every = 1),))
        pool = WorkerPool(f, root; threads = 1)
        st = State(f, pool)
        θs = [copy(st.θ)]
        for _ = 1:2
            round!(f, st, root, 1:9; pool)
            push!(θs, copy(st.θ))
        end
        sqrt.(sum.(abs2, diff(θs)))
    end
    first_step, second = step()
    @test second < 0.3 * first_step                          # the rate fell to a tenth
    @test first_step > 0
    why = message(() -> federated(; aggregate = FLTrust(12), rules = (Scaffold(),)))
    @test occursin("Scaffold and aggregate FLTrust don't go together", why)
    u = Update(; delta = Float32[1, 2], other = Float32[3, 4])
    why = message(() -> combine_updates(FLTrust(), [u]; reference = Float32[1, 2]))
    @test occursin("4 values and the server's own 2", why)
end

@testset "FedBuff keeps variances positive" begin
    f = federated(normed(); rules = (FedBuff(concurrency = 8),), weights = :uniform)
    st, history = fitted(f; rounds = 40, clients_per_round = 2)
    @test all(>(0), st.stats[6:10]) && all(r -> isfinite(r.test_loss), history)
end

@testset "what a client reports is not measured" begin
    far(v) = Update(; delta = Float32[v, 0], metrics = (; work = Float32[1e6v]))
    updates = far.(Float32[1, 1.1, 0.9, 1, 1.05])
    plain = [Update(; u.delta) for u in updates]
    for a in (Krum(1), NormClipping(0.5), GeometricMedian(), CenteredClipping(1.0))
        @test combine_updates(a, updates).delta == combine_updates(a, plain).delta
    end
    @test combine_updates(Median(), updates).metrics.work ≈ [1.01e6] rtol = 1e-5
end

@testset "learning rates of chains, and of none" begin
    chain = Optimisers.OptimiserChain(Optimisers.ClipNorm(1.0), Descent(0.05))
    @test learning_rate(chain) == 0.05f0
    @test learning_rate(scheduled(chain, (r -> 0.5,), 1)) ≈ 0.025f0
    none = Optimisers.ClipNorm(1.0)
    @test learning_rate(none) === nothing
    @test occursin(
        "no single learning rate",
        message(() -> scheduled(none, (r -> 1.0,), 1))
    )
    for rule in (Scaffold(), FedSGD()), o in (Momentum(0.1), Adam(0.1), chain)
        @test occursin(
            "train with sgd",
            message(() -> Federated(model(); optimizer = o,
                rules = (rule,)))
        )
    end
end

@testset "a schedule that reaches 0" begin
    schedule = (CosineDecay(rounds = 2),)
    for rule in (Scaffold(), QFFL(q = 1.0f0), FedNova(), FedDyn())
        st, history = fitted(federated(; rules = (rule,), schedule); rounds = 4)
        @test all(isfinite, st.θ) && all(r -> isempty(r.rejected), history)
    end
    tuned =
        FedFlux.run(dataset = "digits", model = "softmax_regression", clients = 5, lr = 0.5,
            partition = "labels(k=2)", rounds = 2, schedule = "cosine(rounds=2)",
            finetune_epochs = 3)
    @test tuned.finetuned_accuracy > FedFlux.accuracy(tuned)
end

@testset "q-FFL whose powers vanish leaves the model" begin
    f = federated(; rules = (QFFL(q = 60.0f0),), optimizer = Descent(1.0f-3))
    st, history = fitted(f; rounds = 2)
    @test all(isfinite, st.θ)
end

@testset "private arrays: names, and what pulls them" begin
    deep = Chain([Dense(3 => 3) for _ = 1:11]...)
    f = Federated(deep; rules = (FedPer(arrays = ["layers.1"]),))
    @test length(f.rules[1].private.ranges) == 2             # not those of layers.10
    # FedProx with a huge μ holds everything but the private head at the global model.
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    rules = (FedPer(), FedProx(mu = 1.0f0))
    st, _ = fitted(federated(m; rules); rounds = 8)
    free, _ = fitted(federated(m; rules = (FedPer(),)); rounds = 8)
    moved(st) = sum(abs2, st.private[1][end].w - FedFlux.flatten(m)[(end-14):end])
    @test moved(st) > 0.3 * moved(free)
end

@testset "bytes of every download" begin
    n = 4 * FedFlux.Layout(model()).n
    bytes(f; kw...) = [r.bytes_down for r in fitted(f; kw...)[2]]
    @test bytes(federated(; rules = (Scaffold(),))) == fill(10 * 2n, 3)
    faults = Faults((FedFlux.DropOut(1.0),))
    @test bytes(federated(; faults)) == fill(10n, 3)
    @test bytes(federated(; faults = Faults((FedFlux.Crash(1.0),)))) == zeros(3)
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    both = federated(m; rules = (FedPer(), Download(Quantize(2))))
    @test all(>=(0), bytes(both; clients_per_round = 3))
end

@testset "a hostile first update decides nothing" begin
    attack = FedFlux.Attackers(FedFlux.Broken("slots"); clients = [1])
    _, history = fitted(federated(; attack))
    @test all(r -> r.clients == 9 && length(r.rejected) == 1, history)
end

@testset "FedRep's head epochs aren't cut by the number of local steps" begin
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    head(epochs) =
        fitted(federated(m; rules = (FedRep(head_epochs = epochs),), maxsteps = 1);
            rounds = 1)[1].private[1][1].w
    @test head(3) != head(6)
end

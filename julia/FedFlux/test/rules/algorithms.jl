# Each algorithm on clients whose answer is known.
include("../setup/ten_clients.jl")
using FedFlux: WorkerPool, Worker, Layout, engine, flatten, project_to_simplex!, local_work

distance(θ, w) = sqrt(sum(abs2, θ .- w))

# Quadratic clients that each repeat their one sample `copies[k]` times: with batches of 1
# they take so many steps.
function repeated_clients(d, copies; rng = Xoshiro(1))
    one, _ = quadratic_clients(d, length(copies); rng)
    owner = reduce(vcat, fill(k, n) for (k, n) in enumerate(copies))
    stops = cumsum(copies)
    clients = Clients(
        one.x[:, owner],
        zeros(Float32, length(owner)),
        [(stop-n+1):stop for (stop, n) in zip(stops, copies)]
    )
    a, b = one.x[1:d, :], one.x[(d+1):end, :]
    return clients, vec(sum(a .* b; dims = 2) ./ sum(a; dims = 2))
end

const SLOW = (; optimizer = Descent(0.05f0), rounds = 400)

@testset "FedProx" begin
    clients, _ = quadratic_clients(5, 6)
    many = (; SLOW..., epochs = 5, rounds = 20)
    plain, _ = fit_quadratic(clients, 5; many...)
    @test fit_quadratic(clients, 5; many..., rules = (FedProx(mu = 0),))[1] == plain
    # One client: local SGD on ½a(w − b)² + μ/2(w − θ)² from θ, twice.
    a, b, η, μ = clients.x[1:5, 1], clients.x[6:10, 1], 0.05f0, 3.0f0
    w = zeros(Float32, 5)
    for _ = 1:2
        θ = copy(w)
        for _ = 1:4
            w = w - η * (a .* (w - b) + μ * (w - θ))
        end
    end
    alone = Clients(clients.x[:, 1:1], zeros(Float32, 1), [1:1])
    @test fit_quadratic(
        alone,
        5;
        optimizer = Descent(η),
        epochs = 4,
        rounds = 2,
        rules = (FedProx(mu = μ),)
    )[1] ≈ w rtol = 1e-5
end

@testset "SCAFFOLD reaches the optimum that FedAvg misses" begin
    clients, w = quadratic_clients(5, 8)
    many = (; SLOW..., epochs = 10)
    fedavg, _ = fit_quadratic(clients, 5; many...)
    @test distance(fedavg, w) > 0.05
    θ, st = fit_quadratic(clients, 5; many..., rules = (Scaffold(),))
    @test distance(θ, w) < 1e-4
    # At the optimum each control variate is the client's own gradient there, and the shared
    # one their mean, zero.
    for k = 1:8
        gradient = clients.x[1:5, k] .* (w - clients.x[6:10, k])
        @test st.private[k][1] ≈ gradient atol = 1e-3
    end
    @test maximum(abs, st.shared[1]) < 1e-3
    @test distance(
        fit_quadratic(
            clients,
            5;
            many...,
            rounds = 1500,
            clients_per_round = 3,
            rules = (Scaffold(),)
        )[1],
        w
    ) < 1e-3
end

@testset "FedDyn reaches the optimum too" begin
    clients, w = quadratic_clients(5, 8)
    @test distance(
        fit_quadratic(clients, 5; SLOW..., epochs = 10, rules = (FedDyn(alpha = 0.5),))[1],
        w
    ) < 1e-3
end

@testset "FedNova: unequal numbers of steps" begin
    clients, w = repeated_clients(5, [1, 2, 10, 30])
    slow = (; optimizer = Descent(0.002f0), rounds = 2000, weights = :uniform)
    fedavg, _ = fit_quadratic(clients, 5; slow...)
    nova, _ = fit_quadratic(clients, 5; slow..., rules = (FedNova(),))
    @test distance(fedavg, w) > 0.5
    @test distance(nova, w) < 0.1
    # Where all take as many steps it is FedAvg.
    equal, _ = quadratic_clients(5, 4)
    many = (; SLOW..., epochs = 4, rounds = 10)
    @test fit_quadratic(equal, 5; many..., rules = (FedNova(),))[1] ≈
          fit_quadratic(equal, 5; many...)[1] rtol = 1e-5
    # ‖a‖₁ of momentum: the sum of all weights that gradients get, by hand.
    ρ = 0.9
    @test local_work(Momentum(0.1, ρ), 5) ≈ sum(ρ^(i - j) for i = 1:5 for j = 1:i)
    @test occursin(
        "FedNova needs clients that train with sgd or momentum",
        message(
            () -> Federated(
                Point(zeros(Float32, 2));
                optimizer = Adam(),
                rules = (FedNova(),)
            )
        )
    )
end

@testset "Ditto: each personal model is between its own optimum and the global one" begin
    clients, w = quadratic_clients(5, 6)
    θ, st = fit_quadratic(clients, 5; SLOW..., rules = (Ditto(lam = 0.7),))
    # The global model does not notice.
    @test θ == fit_quadratic(clients, 5; SLOW...)[1]
    for k = 1:6
        a, b = clients.x[1:5, k], clients.x[6:10, k]
        @test st.private[k][1].w ≈ (a .* b + 0.7f0 * θ) ./ (a .+ 0.7f0) rtol = 1e-3
    end
end

@testset "q-FFL and AFL make losses equal" begin
    # Two clients ½a(w − b)²: FedAvg ends at the mean optimum; the worst loss is least where
    # both losses are equal.
    a, b = [1.0f0, 9.0f0], [0.0f0, 1.0f0]
    clients = Clients(Float32[a'; b'], zeros(Float32, 2), [1:1, 2:2])
    losses(w) = [a[k] * (w[1] - b[k])^2 / 2 for k = 1:2]
    run(; kw...) =
        fit_quadratic(clients, 1; optimizer = Descent(0.02f0), rounds = 3000, kw...)[1]
    fedavg = run()
    @test fedavg[1] ≈ 0.9 rtol = 1e-3
    @test run(rules = (QFFL(q = 0),)) ≈ fedavg rtol = 1e-4
    fair = run(rules = (QFFL(q = 2),))
    @test maximum(losses(fair)) < 0.8 * maximum(losses(fedavg))
    minimax = 3 / 4                                         # √1 w = √9 (1 − w)
    @test run(rules = (AFL(lr = 0.01),)) ≈ [minimax] rtol = 1e-2
    # The optimum of Σ F^(q+1): its gradient is zero there.
    slope = sum(losses(fair) .^ 2 .* a .* (fair[1] .- b))
    @test abs(slope) < 1e-3
    @test project_to_simplex!([0.5, 0.5]) == [0.5, 0.5]
    @test project_to_simplex!([1.2, 0.4, -1.0]) ≈ [0.9, 0.1, 0.0]
    @test project_to_simplex!([0.0, 9.0]) == [0.0, 1.0]
end

@testset "FedSGD is one step along the mean of full gradients" begin
    x, y = blobs(60)
    clients = Clients(x, y, [1:35, 36:60])
    f = Federated(
        softmax_regression(6, 3; rng = Stream(1, :init));
        optimizer = Descent(0.3f0),
        batchsize = 16,
        rules = (FedSGD(),),
        trainer = :zygote
    )
    θ = flatten(f.model)
    _, rebuild = Optimisers.destructure(f.model)
    g = Flux.gradient(w -> CrossEntropy()(rebuild(w)(x), y), θ)[1]
    st = State(f, ZygoteEngine(f.model, f.loss))
    round!(f, st, clients, 1:2)
    @test st.θ ≈ θ - 0.3f0 * g rtol = 1e-5
    @test occursin(
        "one pass",
        message(() -> Federated(f.model; epochs = 2, rules = (FedSGD(),)))
    )
end

# Rounds on blobs; gives the state, the federation and its pool.
function fit_blobs(
    rule;
    model = mlp(6, 3; hidden = (5,), rng = Stream(1, :init)),
    rounds = 3,
    trainer = :zygote,
    kw...
)
    x, y = blobs(90)
    clients = Clients(x, y, [1:40, 41:60, 61:90])
    f = Federated(
        model;
        optimizer = Descent(0.1f0),
        rules = (rule,),
        trainer,
        batchsize = 10,
        kw...
    )
    pool = WorkerPool(f, clients)
    st = State(f, engine(pool))
    fit!(f, st, clients; rounds, pool)
    return st, f, pool
end

@testset "private arrays stay with the client" begin
    st, f, _ = fit_blobs(FedPer())
    θ, head, body = flatten(f.model),
    f.layout.slots[3].range.start:f.layout.n,
    1:f.layout.slots[2].range.stop
    @test st.θ[head] == θ[head] && st.θ[body] != θ[body]
    @test allunique([st.private[k][1].w for k = 1:3]) &&
          length(st.private[1][1].w) == length(head)
    m = FedFlux.personal!(
        f.rules,
        st.shared,
        st.private[2],
        (; w = copy(st.θ), stats = copy(st.stats))
    )
    @test m.w[head] == st.private[2][1].w && m.w[body] == st.θ[body]
    # by name, the same
    named, _ = fit_blobs(FedPer(arrays = ["layers.3"]))
    @test named.θ == st.θ
    @test occursin(
        "every array would be private",
        message(() -> fit_blobs(FedPer(head = 2)))
    )
    @test occursin(
        "finds no private arrays among layers.2.weight",
        message(() -> fit_blobs(FedPer(arrays = ["head"])))
    )
end

@testset "FedRep trains the head first, then the body alone" begin
    # One client, one full batch: a head step at the received body, then a body step at the
    # new head.
    x, y = blobs(30)
    model = Chain(Dense(6 => 4, tanh), Dense(4 => 3))
    f = Federated(
        model;
        optimizer = Descent(0.1f0),
        rules = (FedRep(),),
        batchsize = 30,
        trainer = :zygote
    )
    st = State(f, ZygoteEngine(model, f.loss))
    round!(f, st, Clients(x, y, [1:30]), 1:1)
    body, head = 1:28, 29:43
    gradient(w) =
        Flux.gradient(w -> CrossEntropy()(Optimisers.destructure(model)[2](w)(x), y), w)[1]
    w = flatten(model)
    w[head] -= 0.1f0 * gradient(w)[head]
    w[body] -= 0.1f0 * gradient(w)[body]
    @test st.private[1][1].w ≈ w[head] rtol = 1e-5
    @test st.θ[body] ≈ w[body] rtol = 1e-5
end

@testset "FedBN keeps normalization and its statistics" begin
    model = Chain(Dense(6 => 5), BatchNorm(5, relu), Dense(5 => 3))
    st, f, _ = fit_blobs(FedBN(); model)
    norm = f.layout.slots[3].range.start:f.layout.slots[4].range.stop
    @test [s.name for s in f.layout.slots[3:4]] == ["layers.2.β", "layers.2.γ"]
    @test st.θ[norm] == [zeros(Float32, 5); ones(Float32, 5)] &&
          st.stats == [zeros(Float32, 5); ones(Float32, 5)]
    @test allunique([st.private[k][1].stats for k = 1:3]) &&
          all(st.private[k][1].stats != st.stats for k = 1:3)
    @test occursin("FedBN finds no private arrays", message(() -> fit_blobs(FedBN())))
end

@testset "the server's optimizers, by Algorithm 2 of arXiv:2003.00295" begin
    Δ = [Float32[1, -2, 0], Float32[0.5, 1, 0], Float32[-1, 1, 3]]
    function reference(kind; η, β1, β2, τ)
        θ, m, v = zeros(3), zeros(3), fill(τ^2, 3)
        for d in Δ, i = 1:3
            m[i] = β1 * m[i] + (1 - β1) * d[i]
            v[i] =
                kind === FedAdagrad ? v[i] + d[i]^2 :
                kind === FedAdam ? β2 * v[i] + (1 - β2) * d[i]^2 :
                v[i] - (1 - β2) * d[i]^2 * sign(v[i] - d[i]^2)
            θ[i] += η * m[i] / (sqrt(v[i]) + τ)
        end
        return θ
    end
    for o in (
        FedAdagrad(lr = 0.1, beta1 = 0.3),
        FedAdam(lr = 0.1),
        FedYogi(lr = 0.1, tau = 0.01)
    )
        θ = zeros(Float32, 3)
        state = Optimisers.init(o, θ)
        for d in Δ
            state, step = Optimisers.apply!(o, state, θ, -d)
            θ .-= step
        end
        @test θ ≈ reference(
            typeof(o);
            η = o.lr,
            β1 = o.beta1,
            β2 = o isa FedAdagrad ? 0 : o.beta2,
            τ = o.tau
        ) rtol = 1e-4
    end
    # They reach the optimum of quadratic clients that take one step, up to their last
    # steps' size.
    clients, w = quadratic_clients(4, 5)
    for server in
        (FedAdam(lr = 0.02), FedYogi(lr = 0.02), FedAdagrad(lr = 0.5), Momentum(1.0, 0.9))
        @test distance(fit_quadratic(clients, 4; SLOW..., rounds = 1500, server)[1], w) <
              0.1
    end
end

@testset "FedBuff: stale updates count less" begin
    clients, w = quadratic_clients(4, 6)
    # Of one client, from some model.
    step(k, from) = -0.05f0 .* clients.x[1:4, k] .* (from - clients.x[5:8, k])
    f = Federated(
        Point(zeros(Float32, 4));
        loss = mean_of_outputs,
        optimizer = Descent(0.05f0),
        batchsize = 1,
        rules = (FedBuff(concurrency = 3),)
    )
    pool = WorkerPool(f, clients)
    st = State(f, engine(pool))
    models, stalest = [copy(st.θ)], 0       # after each round
    for round = 1:20
        _, arrived = FedFlux.arrivals(f.rules[1], st.shared[1], st, clients, 2, f.seed)
        staleness = [round - 1 - c.round for c in arrived]
        stalest = max(stalest, maximum(staleness))
        expected =
            st.θ + mean(
                step(c.client, models[c.round+1]) / sqrt(1.0f0 + τ) for
                (c, τ) in zip(arrived, staleness)
            )
        cohort, _ = FedFlux.async_round!(f, st, clients, 2; pool)
        @test cohort == [c.client for c in arrived] && allunique(cohort)
        @test st.θ ≈ expected rtol = 1e-4
        push!(models, copy(st.θ))
    end
    @test stalest >= 2
    # The third place is taken again when the next round begins.
    @test length(st.shared[1].underway) == 2
    # Faster clients come more often.
    clocked(k) = FedFlux.duration(f.rules[1], clients, k, f.seed)
    arrivals = zeros(Int, 6)
    for _ = 1:100
        cohort, _ = FedFlux.async_round!(f, st, clients, 1; pool)
        arrivals[only(cohort)] += 1
    end
    @test arrivals[argmin(clocked.(1:6))] > arrivals[argmax(clocked.(1:6))]
    # Equal speeds, as many at once as the server waits for: the same as FedAvg with all
    # clients.
    equal, _ = fit_quadratic(
        clients,
        4;
        SLOW...,
        rounds = 20,
        rules = (FedBuff(concurrency = 6, spread = 0),)
    )
    @test equal ≈ fit_quadratic(clients, 4; SLOW..., rounds = 20)[1] rtol = 1e-5
end

@testset "FedBuff keeps variances positive" begin
    normed = Chain(Dense(6 => 5; init = Flux.glorot_uniform(Stream(1, :init))),
        BatchNorm(5, relu),
        Dense(5 => 3; init = Flux.glorot_uniform(Stream(2, :init))))
    f = ten_federated(normed; rules = (FedBuff(concurrency = 8),), weights = :uniform)
    st, history = fit_ten(f; rounds = 40, clients_per_round = 2)
    @test all(>(0), st.stats[6:10]) && all(r -> isfinite(r.test_loss), history)
end

@testset "q-FFL whose powers vanish leaves the model" begin
    f = ten_federated(; rules = (QFFL(q = 60.0f0),), optimizer = Descent(1.0f-3))
    st, history = fit_ten(f; rounds = 2)
    @test all(isfinite, st.θ)
end

@testset "private arrays: names, and what pulls them" begin
    deep = Chain([Dense(3 => 3) for _ = 1:11]...)
    f = Federated(deep; rules = (FedPer(arrays = ["layers.1"]),))
    @test length(f.rules[1].private.ranges) == 2             # not those of layers.10
    # FedProx with a huge μ holds everything but the private head at the global model.
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    rules = (FedPer(), FedProx(mu = 1.0f0))
    st, _ = fit_ten(ten_federated(m; rules); rounds = 8)
    free, _ = fit_ten(ten_federated(m; rules = (FedPer(),)); rounds = 8)
    moved(st) = sum(abs2, st.private[1][end].w - FedFlux.flatten(m)[(end-14):end])
    @test moved(st) > 0.3 * moved(free)
end

@testset "FedRep's head epochs aren't cut by the number of local steps" begin
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    head(epochs) =
        fit_ten(ten_federated(m; rules = (FedRep(head_epochs = epochs),), maxsteps = 1);
            rounds = 1)[1].private[1][1].w
    @test head(3) != head(6)
end

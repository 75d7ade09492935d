include("../setup/ten_clients.jl")
using FedFlux: WorkerPool, Worker, engine, flatten, global_model, evaluate,
    client_accuracies, spread, reason_to_stop, Stopping, in_parallel, Control

x, y = blobs(240)
xt, yt = blobs(90; rng = Xoshiro(7))
clients = Clients(x, y, [1:100, 101:130, 131:240])
fresh(; kw...) = Federated(
    softmax_regression(6, 3; rng = Stream(1, :init));
    optimizer = Descent(0.1f0),
    batchsize = 16,
    seed = 4,
    kw...
)

function fitted(f; threads = 1, kw...)
    pool = WorkerPool(f, clients.x; threads)
    st, history, stopped =
        fit!(f, State(f, engine(pool)), clients; rounds = 4, test = (xt, yt), pool, kw...)
    return flatten(global_model(f, st, engine(pool))), history, stopped
end

@testset "a round is FedAvg's Algorithm 1: local SGD, then the weighted average" begin
    f = fresh(; epochs = 2, trainer = :zygote)
    θ0 = flatten(f.model)
    _, rebuild = Optimisers.destructure(f.model)
    locals = map(1:3) do k
        order, rng, w =
            collect(FedFlux.indices(clients, k)), Stream(4, :batches, 1, k), copy(θ0)
        for _ = 1:2
            shuffle!(rng, order)
            for idx in Iterators.partition(order, 16)
                w -=
                    0.1f0 * Flux.gradient(
                        w -> CrossEntropy()(rebuild(w)(x[:, idx]), y[idx]),
                        w
                    )[1]
            end
        end
        w
    end
    expected = (100locals[1] + 30locals[2] + 110locals[3]) / 240
    st = State(f, ZygoteEngine(f.model, f.loss))
    _, metrics = round!(f, st, clients, 1:3)
    @test st.θ ≈ expected rtol = 1e-5
    @test st.round == 1
    @test metrics.clients == 3
    @test metrics.bytes_up == metrics.bytes_down == 3 * 4 * length(θ0)
end

@testset "threads don't matter, with part of the clients neither" begin
    for (clients_per_round, weights) in ((3, :samples), (2, :uniform))
        f = fresh(; weights)
        one, = fitted(f; clients_per_round)
        for threads = 2:Threads.nthreads()
            @test fitted(f; threads, clients_per_round)[1] == one
        end
        @test fitted(f; clients_per_round)[1] == one
    end
    Threads.nthreads() == 1 &&
        @warn "Julia has one thread: equality between thread counts was not tested here"
end

@testset "it learns, and the history tells it" begin
    _, history, stopped = fitted(fresh())
    @test stopped == "rounds" && length(history) == 4
    @test [r.round for r in history] == 1:4
    @test history[end].accuracy > 0.9
    @test history[end].test_loss < history[1].test_loss
    @test history[end].train_loss < history[1].train_loss
    @test issorted(collect(history[end].client_accuracy))
    @test occursin("round 4: train loss", repr(history[end]))
end

@testset "stop conditions" begin
    @test fitted(fresh(); stopping = Stopping(; rounds = 4, target_accuracy = 0.5))[3] ==
          "target_accuracy"
    @test length(
        fitted(fresh(); stopping = Stopping(; rounds = 4, time_budget = 1e-9))[2]
    ) == 1
    # Just used up is used up, by a clock that nobody sets.
    ended(seconds) = FedFlux.reason_to_stop(Stopping(; rounds = 9, time_budget = 2.0),
        fitted(fresh(); rounds = 1)[2], seconds)
    @test ended(2.0) == "time_budget" && ended(prevfloat(2.0)) === nothing
    f = fresh()
    pool = WorkerPool(f, clients)
    run_log = FedFlux.RunLog(f, State(f, pool), clients; stopping = Stopping(; rounds = 9),
        sampling = CohortSampling(1), evaluation = nothing, eval_every = 1, pool,
        warn = FedFlux.Callback(println), checkpoints = nothing,
        progress = FedFlux.Progress(FedFlux.Record[], 100.0))
    @test 100 <= FedFlux.elapsed(run_log) < 200
    @test run_log.begun + FedFlux.elapsed(run_log) ≈ time_ns() / 1e9 atol = 1
    # The last round is evaluated.
    @test last(
        fitted(
            fresh();
            stopping = Stopping(; rounds = 4, time_budget = 1e-9),
            eval_every = 5
        )[2]
    ).accuracy !== nothing
    @test fitted(fresh(); callback = r -> r.round == 2)[3] == "callback"
    _, history, _ = fitted(fresh(); eval_every = 3)
    @test [r.accuracy !== nothing for r in history] == [false, false, true, true]
    records = [
        FedFlux.Record(;
            round = i,
            train_loss = 1,
            test_loss,
            clients = 1,
            seconds_train = 1,
            seconds_aggregate = 0,
            bytes_up = 1,
            bytes_down = 1
        )
        for (i, test_loss) in enumerate([3.0, 2.0, 2.5, 2.0])
    ]
    stop = Stopping(; rounds = 9, patience = 2)
    @test reason_to_stop(stop, records[1:3], 0.0) === nothing
    @test reason_to_stop(stop, records, 0.0) == "patience"
end

@testset "patience: a loss that isn't finite is never the lowest" begin
    ends_after(losses...; patience = 2) =
        findfirst(eachindex(losses)) do n
            history = [
                FedFlux.Record(; round = i, train_loss = 1, test_loss, clients = 1,
                    seconds_train = 1, seconds_aggregate = 0, bytes_up = 1,
                    bytes_down = 1)
                for (i, test_loss) in enumerate(losses[1:n])
            ]
            reason_to_stop(Stopping(; rounds = 9, patience), history, 0.0) == "patience"
        end
    @test ends_after(3.0, 2.0, 2.5, 2.0) == 4
    @test ends_after(3.0, NaN, 2.0, 1.0, 0.5) === nothing
    @test ends_after(NaN, 3.0, 2.0, 1.0) === nothing
    @test ends_after(3.0, NaN, Inf) == 3
    @test ends_after(3.0, nothing, NaN, nothing, 2.0, 2.5, NaN) == 7
    @test ends_after(NaN, NaN) == ends_after(Inf, Inf) == 2
end

@testset "a run that diverges says so wherever its losses are told" begin
    x = 1.0f3 .* randn(Xoshiro(1), Float32, 3, 40)
    data = Dataset(x, x[1, :], x, x[1, :])
    r = FedFlux.run(; dataset = data, model = "softmax_regression", loss = "mse", lr = 1.0,
        clients = 2, rounds = 5, local_steps = 1, trainer = "zygote")
    losses = [h.test_loss for h in r.history]
    @test any(isfinite, losses) && !isfinite(last(losses))
    told = FedFlux.ordered(last(r.history)).test_loss
    @test told == FedFlux.asdict(last(r.history))["test_loss"]
    @test told == (isnan(last(losses)) ? "NaN" : "Infinity")
    saved = FedFlux.load_result(FedFlux.save(joinpath(mktempdir(), "r"), r))
    @test saved.facts["loss"] == told == last(saved.facts["history"])["test_loss"]
end

@testset "a server optimizer takes -ū as its gradient" begin
    plain, = fitted(fresh())
    @test fitted(fresh(; server = Descent(1.0f0)))[1] ≈ plain rtol = 1e-6
    f = fresh()
    half = fitted(fresh(; server = Descent(0.5f0)))[1]
    @test half != plain
end

@testset "evaluation" begin
    f = fresh()
    pool = WorkerPool(f, clients.x)
    st = State(f, engine(pool))
    e = evaluate(pool, f, st.θ, st.stats, xt, yt, 3)
    ŷ = f.model(xt)
    @test e.loss ≈ CrossEntropy()(ŷ, yt) rtol = 1e-5
    @test FedFlux.accuracy(e) ≈ mean(Flux.onecold(ŷ, 0:2) .== yt)
    # client accuracies: one holds class 0 alone, the other the test's own mix
    counts = [5 count(==(0), yt); 0 count(==(1), yt); 0 count(==(2), yt)]
    @test client_accuracies(e, counts) ≈ [e.right[1] / e.total[1], FedFlux.accuracy(e)]
    @test spread([1.0, 2, 3, 4, 5]) == (min = 1, q1 = 2, median = 3, q3 = 4, max = 5)
end

@testset "statistics are averaged too" begin
    model = Chain(Dense(6 => 8), BatchNorm(8, relu), Dense(8 => 3))
    f = Federated(model; batchsize = 16, trainer = :zygote)
    st = State(f, ZygoteEngine(f.model, f.loss))
    round!(f, st, clients, 1:3)
    @test length(st.stats) == 16 && st.stats[1:8] != zeros(8)
    m = global_model(f, st, ZygoteEngine(f.model, f.loss))
    @test m[2].μ == st.stats[1:8] && m[2].σ² == st.stats[9:16]
end

@testset "a run that blows up says so and leaves the state" begin
    f = fresh(; optimizer = Descent(Inf32))
    st = State(f, ZygoteEngine(f.model, f.loss))
    before = copy(st.θ)
    warnings = String[]
    _, history, stopped = fit!(f, st, clients; rounds = 2, warn = w -> push!(warnings, w))
    @test any(w -> occursin("smaller learning rate", w), warnings)
    @test st.θ == before && stopped == "rounds" && all(r -> r.skipped !== nothing, history)
end

struct Breaks <: Rule end
FedFlux.client!(::Breaks, s, u, ctx) = error("client $(ctx.client) broke")

@testset "an exception in every client ends the run with that exception" begin
    f = fresh(; rules = (Breaks(),))
    many = Clients(x, y, [k:(k+4) for k = 1:5:240])
    st = State(f, ZygoteEngine(f.model, f.loss))
    @test_throws "client 1 broke" fit!(f, st, many; rounds = 2)
    @test st.round == 0
end

@testset "an interrupt reaches the calling task, and the pool works on" begin
    f = fresh(; epochs = 100_000)
    ticks = Ref(0)
    pool = WorkerPool(
        f,
        clients.x;
        tick = () -> (ticks[] += 1) == 3 && throw(InterruptException())
    )
    st = State(f, engine(pool))
    seconds =
        @elapsed @test_throws InterruptException fit!(f, st, clients; rounds = 1, pool)
    @test seconds < 20 && st.round == 0
    short = fresh()
    @test fit!(short, State(short, engine(pool)), clients; rounds = 1, pool)[3] == "rounds"
end

@testset "threads are bounded by Julia's" begin
    @test occursin(
        "julia --threads 999",
        message(() -> WorkerPool(fresh(), clients.x; threads = 999))
    )
end

@testset "bytes of every download" begin
    n = 4 * FedFlux.Layout(ten_model()).n
    bytes(f; kw...) = [r.bytes_down for r in fit_ten(f; kw...)[2]]
    @test bytes(ten_federated(; rules = (Scaffold(),))) == fill(10 * 2n, 3)
    faults = Faults((FedFlux.DropOut(1.0),))
    @test bytes(ten_federated(; faults)) == fill(10n, 3)
    @test bytes(ten_federated(; faults = Faults((FedFlux.Crash(1.0),)))) == zeros(3)
    m = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    both = ten_federated(m; rules = (FedPer(), Download(Quantize(2))))
    @test all(>=(0), bytes(both; clients_per_round = 3))
end

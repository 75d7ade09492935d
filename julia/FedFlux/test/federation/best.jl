# The best model by one criterion, and validation data apart from the test data.
using FedFlux:
    Best, Monitor, Progress, Record, WorkerPool, best_of, engine, flatten,
    global_model

x, y = blobs(240)
xt, yt = blobs(90; rng = Xoshiro(11))
data = Dataset(x, y, xt, yt)
run(; kw...) = FedFlux.run(; dataset = data, model = "mlp", hidden = [8], clients = 4,
    batch_size = 8, lr = 1.5, kw...)     # too large a rate: figures go up and down

record(round; kw...) = Record(; round, train_loss = 1, clients = 1, seconds_train = 0,
    seconds_aggregate = 0, bytes_up = 0, bytes_down = 0, kw...)

@testset "the first of the best; NaN and Inf never" begin
    history(losses) = [record(i; test_loss) for (i, test_loss) in enumerate(losses)]
    loss = Monitor()
    @test best_of(loss, history([3.0, 2.0, 2.5, 2.0])) == (2, 2)
    @test best_of(loss, history([NaN, 2.0, NaN])) == (2, 1)
    @test best_of(loss, history([Inf, NaN])) == (nothing, 2)
    @test best_of(loss, history([3.0, nothing, 2.0])) == (3, 0)
    shares = [0.2, 0.9, 0.9]
    scores = [record(i; test_loss = 1.0, accuracy) for (i, accuracy) in enumerate(shares)]
    @test best_of(Monitor("accuracy"), scores) == (2, 1)
    stop = Stopping(; rounds = 9, patience = 2)
    @test FedFlux.reason_to_stop(stop, history([1.0, NaN]), 0.0) === nothing
    @test FedFlux.reason_to_stop(stop, history([1.0, NaN, NaN]), 0.0) == "patience"
end

@testset "the best model of a run, by $monitor" for monitor in ("loss", "accuracy", "f1")
    r = run(; rounds = 6, monitor)
    (; best) = r
    figures =
        monitor == "loss" ? [-h.test_loss for h in r.history] :
        monitor == "accuracy" ? [h.accuracy for h in r.history] :
        [h.metric for h in r.history]
    @test best.round == argmax(figures)
    @test best.value ≈ abs(maximum(figures))
    monitor == "f1" && @test best.value ≈ score(best, xt, yt; metric = "f1")
    @test best.accuracy == r.history[best.round].accuracy
    @test best.accuracy ≈ score(best, xt, yt)
    # It is the model of a run that ends there.
    @test run(; rounds = best.round, monitor).params_sha256 == best.params_sha256
    @test (best.round == 6) == (best.params_sha256 == r.params_sha256)
end

@testset "nothing else depends on the criterion" begin
    runs = [run(; rounds = 3, monitor) for monitor in ("loss", "accuracy", "auc")]
    @test allequal(r.params_sha256 for r in runs)
    @test allequal([h.test_loss for h in r.history] for r in runs)
end

@testset "patience counts by it" begin
    long = run(; rounds = 12)
    for monitor in ("loss", "accuracy")
        r = run(; rounds = 12, monitor, patience = 2)
        value(h) = monitor == "loss" ? -h.test_loss : h.accuracy
        figures = map(value, long.history)
        n = findfirst(i -> i - argmax(figures[1:i]) >= 2, 1:12)
        @test length(r.history) == something(n, 12)
    end
end

@testset "in a file, in a folder, and resumed" begin
    mktempdir() do dir
        whole = run(; rounds = 6, monitor = "accuracy")
        folder = joinpath(dir, "run")
        run(; rounds = 3, monitor = "accuracy", checkpoint = folder, checkpoint_every = 5)
        rest = FedFlux.run(; dataset = data, resume = folder, rounds = 6)
        @test rest.best.round == whole.best.round
        @test rest.best.params_sha256 == whole.best.params_sha256
        half = run(; rounds = 3, monitor = "accuracy")
        rest = FedFlux.run(; resume = half, rounds = 6)
        @test rest.best.params_sha256 == whole.best.params_sha256

        file = FedFlux.save(joinpath(dir, "run.safetensors"), whole)
        for path in (file, folder)
            saved = FedFlux.load_result(path)
            @test saved.facts["params_sha256"] == whole.params_sha256
            @test saved.best.facts["params_sha256"] == whole.best.params_sha256
            @test saved.best.facts["round"] == whole.best.round
            @test predict(saved.best, xt) == predict(whole.best, xt)
            @test predict(saved, xt) == predict(whole, xt)
        end
        same(a, b) = a.params_sha256 == b.params_sha256
        next(init) = run(; rounds = 1, init)
        @test same(next(folder), next(whole)) && same(next(file), next(whole))
        @test same(next(FedFlux.load_result(folder).best), next(whole.best))
        @test occursin("there is no checkpoint", message(() -> next(mktempdir())))
    end
end

@testset "a folder keeps the labels as they were given" begin
    named = Dataset(x, ["no", "yes", "maybe"][y .+ 1], nothing, nothing)
    mktempdir() do dir
        r = run(; dataset = named, rounds = 1, checkpoint = dir)
        @test predict(FedFlux.load_result(dir), xt) == predict(r, xt)
        @test predict(r, xt) ⊆ ["no", "yes", "maybe"]
    end
end

@testset "a callback sees the model" begin
    seen = []
    r = run(; rounds = 3,
        callback = (record, model) -> (push!(seen, (record, model)); false))
    @test [m.round for (_, m) in seen] == 1:3
    @test last(seen)[2].params_sha256 == r.params_sha256
    @test all(((h, m),) -> score(m, xt, yt) ≈ h.accuracy, seen)
    @test seen[1][2].params_sha256 == run(rounds = 1).params_sha256
    # In fit! it is the Flux model; a callback of one argument gets none.
    clients = Clients(x, y, [1:120, 121:240])
    f = Federated(softmax_regression(6, 3))
    pool = WorkerPool(f, clients)
    st = State(f, pool)
    models = []
    fit!(f, st, clients; rounds = 2, pool,
        callback = (record, model) -> (push!(models, model); nothing))
    @test flatten(last(models)) == flatten(global_model(f, st, engine(pool)))
    @test flatten(first(models)) != flatten(last(models))
end

@testset "validation: $(collect(keys(how)))" for how in ((; validation = 0.25),
    (; client_validation = 0.25), (; validation = (x[:, 1:60], y[1:60])))
    records = []
    r = run(; rounds = 4, how..., callback = h -> (push!(records, h); false))
    @test all(h -> h.test_loss === nothing && h.accuracy === nothing, records[1:3])
    @test all(h -> h.validation_loss > 0 && 0 <= h.validation_accuracy <= 1, records)
    @test last(records).accuracy ≈ score(r, xt, yt)     # once, at the end
    @test r.best.value == minimum(h.validation_loss for h in records)
    @test r.best.accuracy ≈ score(r.best, xt, yt)
    # The test data decides nothing: other data give the same run.
    other = run(; dataset = Dataset(x, y, reverse(xt; dims = 1), reverse(yt)), rounds = 4,
        how..., patience = 1)
    @test other.stopped == run(; rounds = 4, how..., patience = 1).stopped
    @test other.params_sha256 == run(; rounds = 4, how..., patience = 1).params_sha256
    @test other.best.round == run(; rounds = 4, how..., patience = 1).best.round
end

@testset "arrays to validate on are normalized as the clients' are" begin
    far = Dataset(1000 .+ 50 .* x, y, nothing, nothing)
    r = run(; dataset = far, normalise = "federated", rounds = 2, lr = 0.5,
        validation = (1000 .+ 50 .* xt, yt))
    @test last(r.history).validation_accuracy ≈ score(r, 1000 .+ 50 .* xt, yt)
end

@testset "what is set aside is not trained on" begin
    clients = Clients(x, y, [1:100, 101:239, 240:240])
    for f in (FedFlux.validation_share, FedFlux.client_validation_share)
        rest, apart = f(clients, 0.25, 3)
        @test isempty(intersect(rest.order, apart))
        @test sort([rest.order; apart]) == 1:240
        @test FedFlux.nsamples(rest, 3) == 1 && 59 <= length(apart) <= 61
        @test f(clients, 0.25, 3)[2] == apart != f(clients, 0.25, 4)[2]
    end
    _, apart = FedFlux.client_validation_share(clients, 0.25, 3)
    @test count(<=(100), apart) == 25
    lonely = Clients(x[:, 1:3], y[1:3], [1:1, 2:2, 3:3])
    @test occursin("only 0 samples can be set aside",
        message(() -> FedFlux.validation_share(lonely, 0.5, 0)))
    @test occursin("no client has two samples",
        message(() -> FedFlux.client_validation_share(lonely, 0.5, 0)))
    # Its figures are those of the model on these samples.
    given = run(; rounds = 1, validation = 0.25)
    @test sum(given.holdings["sizes"]) == 180
    # Without test data validation is enough.
    alone = run(; dataset = Dataset(x, y, nothing, nothing), rounds = 3, validation = 0.25,
        patience = 3, target_accuracy = 0.01)
    @test alone.stopped == "target_accuracy" && alone.best.round == 1
end

@testset "a callback that ends the run ends it with the test data" begin
    r = run(; rounds = 5, eval_every = 4, validation = 0.25, callback = h -> h.round == 2)
    @test r.stopped == "callback" && length(r.history) == 2
    @test r.history[2].accuracy ≈ score(r, xt, yt) && r.best.round == 2
end

@testset "what does not go together" begin
    @test occursin(
        "expected one",
        message(() ->
            run(; validation = 0.1, client_validation = 0.1))
    )
    @test occursin("validation's x holds samples of size",
        message(() -> run(; validation = (x[1:3, :], y))))
    none = Dataset(x, y, nothing, nothing)
    @test occursin("no test or validation data",
        message(() -> run(; dataset = none, monitor = "accuracy")))
    @test occursin("for numbers", message(() -> run(; monitor = "r2")))
    numbers = Dataset(x, x[1, :], xt, xt[1, :])
    @test occursin("no classes",
        message(() -> run(; dataset = numbers, loss = "mse", monitor = "accuracy")))
    r = run(; dataset = numbers, loss = "mse", monitor = "r2", rounds = 3, lr = 0.05)
    @test r.best.round == argmax([h.metric for h in r.history])
    @test r.best.value ≈ score(r.best, xt, xt[1, :]) rtol = 1e-4
end

@testset "BatchNorm's statistics go along: $what" for what in ("a result", "its best",
    "a file", "a folder", "arrays by name")
    normed() = Chain(Dense(6 => 8), BatchNorm(8, tanh), Dense(8 => 3))
    mktempdir() do dir
        r = run(; model = normed(), rounds = 2, checkpoint = dir)
        @test first.(r.statistics) == ["layers.2.μ", "layers.2.σ²"]
        init =
            what == "a result" ? r :
            what == "its best" ? r.best :
            what == "a file" ? FedFlux.save(joinpath(dir, "a.safetensors"), r) :
            what == "a folder" ? dir : Dict([r.names .=> r.parameters; r.statistics])
        from = what == "its best" ? r.best : r
        model = FedFlux.with_initial(normed(), init)
        @test model[2].μ == from.model[2].μ && model[2].σ² == from.model[2].σ²
        @test Flux.testmode!(model)(xt) == Flux.testmode!(deepcopy(from.model))(xt)
        what == "arrays by name" || return
        delete!(init, "layers.2.μ")
        @test occursin("init: layers.2.μ missing",
            message(() -> FedFlux.with_initial(normed(), init)))
        delete!(init, "layers.2.σ²")     # without statistics the model keeps its own
        @test FedFlux.with_initial(normed(), init)[2].μ == zeros(8)
    end
end

@testset "a deployment refuses it, by name" begin
    refused(; kw...) = message(() -> FedFlux.check_deployable(FedFlux.Options(; kw...)))
    for name in (:validation, :client_validation)
        @test occursin("option $name can't be used in a deployment",
            refused(; NamedTuple{(name,)}((0.1,))...))
    end
    @test refused(; monitor = "accuracy", freeze = ["layers.1"]) == "no error was thrown"
end

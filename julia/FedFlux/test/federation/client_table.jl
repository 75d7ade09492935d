# Test data of each client's own, the table of clients, and personal models.

using FedFlux: hold_out, indices, nsamples, partition, options_of

x, y = blobs(120)
xt, yt = blobs(60; rng = Xoshiro(3))
data = Dataset(x, y, xt, yt)
quick = (; dataset = data, model = "softmax_regression", clients = 4, rounds = 2, lr = 0.1)

"The parts of `quick`'s clients for training and for test, from the random draws alone."
function parts_of(share; clients = 4, seed = 0)
    order = FedFlux.shuffle!(Stream(seed, :partition), collect(1:120))
    parts = [order[((k-1)*120÷clients+1):(k*120÷clients)] for k = 1:clients]
    test = map(enumerate(parts)) do (k, part)
        drawn = FedFlux.shuffle!(Stream(seed, :client_test, 0, k), copy(part))
        Set(drawn[1:round(Int, share*length(part))])
    end
    return [filter(!in(s), p) for (p, s) in zip(parts, test)], collect.(test)
end

accuracy_on(model, x, y) = mean(Flux.onecold(model(x), 0:2) .== y)
loss_on(model, x, y) = Flux.logitcrossentropy(model(x), Flux.onehotbatch(y, 0:2))

@testset "samples that a client keeps for tests" begin
    clients = Clients(x, y, [[1:50; 7], 51:119, [120]])
    train, own = hold_out(clients, 0.2, 5)
    @test length.(own.parts) == [10, 14, 0]
    for k = 1:3
        kept = indices(train, k)
        @test isdisjoint(kept, own.parts[k])
        @test sort(unique([kept; own.parts[k]])) == sort(unique(indices(clients, k)))
        @test kept == filter(in(kept), indices(clients, k))
    end
    @test hold_out(clients, 0.2, 5)[2].parts == own.parts
    @test hold_out(clients, 0.2, 6)[2].parts != own.parts
    @test length.(hold_out(Clients(x, y, [1:2, 3:120]), 0.01, 0)[2].parts) == [1, 1]
    @test nsamples(first(hold_out(Clients(x, y, [1:2, 3:120]), 0.9, 0)), 1) == 1
end

@testset "what is kept for tests never trains" begin
    train, test = parts_of(0.25)
    r = FedFlux.run(; quick..., client_test = 0.25)
    @test r.holdings["sizes"] == length.(train)
    poisoned(samples) = (
        bad = copy(x);
        bad[:, samples] .= 50;
        labels = copy(y);
        labels[samples] .= 2;
        Dataset(bad, labels, xt, yt)
    )
    again(d; kw...) = FedFlux.run(; quick..., client_test = 0.25, kw..., dataset = d)
    @test again(poisoned(reduce(vcat, test))).params_sha256 == r.params_sha256
    @test again(poisoned(train[1][1:1])).params_sha256 != r.params_sha256
    @test FedFlux.run(; quick...).params_sha256 != r.params_sha256
    # Nor do the server's root data, or the clients' moments.
    for more in ((; aggregate = "fltrust(root=20)"), (; normalise = "federated"),
        (; finetune_epochs = 1))
        @test again(poisoned(reduce(vcat, test)); more...).params_sha256 ==
              again(data; more...).params_sha256
    end
end

@testset "accuracy and loss of each client" begin
    train, test = parts_of(0.25)
    r = FedFlux.run(; quick..., client_test = 0.25, clients_per_round = 2, rounds = 3)
    @test [row.client for row in r.clients] == [row.name for row in r.clients] == 1:4
    for (k, row) in enumerate(r.clients)
        @test (row.samples, row.test_samples) == length.((train[k], test[k]))
        @test row.accuracy ≈ accuracy_on(r.model, x[:, test[k]], y[test[k]])
        @test row.loss ≈ loss_on(r.model, x[:, test[k]], y[test[k]])
        @test row.rounds == count(record -> k in record.cohort, r.history)
        @test row.personal_accuracy === row.personal_loss === nothing
    end
    saved = FedFlux.load_result(FedFlux.save(joinpath(mktempdir(), "r"), r)).facts
    @test [row["loss"] for row in saved["clients"]] == [row.loss for row in r.clients]
    plain = FedFlux.run(; quick...)
    @test all(row -> row.loss === nothing && row.test_samples == 0, plain.clients)
    @test [row.samples for row in plain.clients] == [30, 30, 30, 30]
    # Numbers: a loss, and no accuracy; without any other test data.
    numbers = Dataset(x, x[1, :], nothing, nothing)
    r = FedFlux.run(; quick..., dataset = numbers, loss = "mse", client_test = 0.25)
    for (k, row) in enumerate(r.clients)
        @test row.loss ≈ mean(abs2, vec(r.model(x[:, test[k]])) .- x[1, test[k]])
        @test row.accuracy === nothing
    end
end

@testset "a further message takes no round away" begin
    attack = FedFlux.Attackers(FedFlux.Broken("twice"); clients = [2, 3])
    f = Federated(softmax_regression(6, 3); attack)
    clients = Clients(x, y, [1:40, 41:80, 81:120])
    st = State(f, FedFlux.WorkerPool(f, clients))
    _, history, _ = fit!(f, st, clients; rounds = 2, warn = Returns(nothing))
    @test all(h -> h.clients == 3 && length(h.rejected) == 2, history)
    taken(history) = FedFlux.rounds_taken(history, 3)
    @test taken(history) == [2, 2, 2]
    # What a deployment may note: a second message of who had counted, of who hadn't, and
    # one of who was not asked.
    record(rejected, dropped = []) = FedFlux.Record(; round = 1, train_loss = 1,
        clients = 1, seconds_train = 1, seconds_aggregate = 0, bytes_up = 1,
        bytes_down = 1, cohort = [1, 2],
        rejected = [(; client, reason) for
                    (client, reason) in rejected], dropped)
    twice = "was sent twice"
    @test taken([record([2 => twice])]) == [1, 1, 0]
    @test taken([record([2 => "holds NaN or Inf", 2 => twice])]) == [1, 0, 0]
    @test taken([record([3 => "was not asked in this round"])]) == [1, 1, 0]
    @test taken([record([2 => twice], [(; client = 2, reason = "did not answer")])]) ==
          [1, 0, 0]
end

@testset "rounds are those whose update was accepted" begin
    r = FedFlux.run(; quick..., rounds = 8, faults = ["dropout(p=0.4)"])
    for row in r.clients
        @test row.rounds ==
              count(h -> all(d -> d.client != row.client, h.dropped), r.history)
    end
    @test 0 < sum(row.rounds for row in r.clients) < 32
    hidden = FedFlux.run(; quick..., rules = "client_dp(noise_multiplier=1)",
        weights = "uniform",
        sampling = "poisson(rate=0.7)")
    @test all(row -> row.rounds === nothing, hidden.clients)
end

@testset "test samples with owners" begin
    owner = ["carol", "ann", "bob"][mod1.(1:120, 3)]
    owner_test = [fill("ann", 20); fill("carol", 30); fill("zed", 10)]
    owned = Dataset(x, y, xt, yt; owner, owner_test)
    run(d; kw...) = FedFlux.run(; quick..., dataset = d, partition = "owner", kw...)
    strange = r"10 test samples have owners without"
    r = @test_logs (:warn, strange) match_mode = :any run(owned)
    @test [row.name for row in r.clients] == ["ann", "bob", "carol"]
    @test [row.test_samples for row in r.clients] == [20, 0, 30]
    @test r.clients[1].accuracy ≈ accuracy_on(r.model, xt[:, 1:20], yt[1:20])
    @test r.clients[3].loss ≈ loss_on(r.model, xt[:, 21:50], yt[21:50])
    @test r.clients[2].loss === nothing
    without = run(Dataset(x, y, xt, yt; owner))
    @test without.params_sha256 == r.params_sha256
    @test without.history[2].accuracy == r.history[2].accuracy
    strangers = Dataset(x, y, xt, yt; owner, owner_test = fill("zed", 60))
    @test occursin("owner_test has no owner of a training", message(() -> run(strangers)))
    @test occursin("expected one of the two", message(() -> run(owned; client_test = 0.1)))
    misfit(; kw...) = message(() -> Dataset(x, y, xt, yt; kw...))
    @test occursin("needs owner too", misfit(; owner_test))
    @test occursin("owners of 2 samples", misfit(; owner, owner_test = ["ann", "bob"]))
    @test occursin("no test samples",
        message(() -> Dataset(x, y, nothing, nothing; owner, owner_test)))
end

@testset "personal models: $rule" for rule in ("ditto(lam=0.5)", "fedper", "fedrep")
    _, test = parts_of(0.25)
    settings = (; quick..., model = "mlp", hidden = [8], rules = rule, client_test = 0.25)
    r = FedFlux.run(; settings..., clients_per_round = 2, rounds = 1)
    for k = 1:4
        own = personal(r, k)
        row = r.clients[k]
        @test row.personal_accuracy ≈ accuracy_on(own.model, x[:, test[k]], y[test[k]])
        @test row.personal_loss ≈ loss_on(own.model, x[:, test[k]], y[test[k]])
        @test own.parameters ==
              collect.(Optimisers.trainables(own.model))
        @test (own.parameters != r.parameters) == (k in only(r.history).cohort)
        @test predict(own, x[:, test[k]]) == Flux.onecold(own.model(x[:, test[k]]), 0:2)
        body = 1:(length(r.parameters)-2)
        rule == "ditto(lam=0.5)" || @test own.parameters[body] == r.parameters[body]
    end
    begun = FedFlux.run(; settings..., lr = 1e-20, init = personal(r, 1))
    @test begun.parameters == personal(r, 1).parameters
    # Going on, and other numbers of threads, give the same.
    whole = FedFlux.run(; settings..., rounds = 3)
    resumed = FedFlux.run(; resume = FedFlux.run(; settings..., rounds = 2), rounds = 3)
    @test whole.clients == resumed.clients
    @test personal(whole, 2).parameters == personal(resumed, 2).parameters
    @test FedFlux.run(; settings..., rounds = 3, threads = 1).clients == whole.clients
end

@testset "a personal model keeps its statistics" begin
    model = Chain(Dense(6 => 8), BatchNorm(8, relu), Dense(8 => 3))
    r = FedFlux.run(; quick..., model, rules = "fedbn", client_test = 0.25)
    _, test = parts_of(0.25)
    own = personal(r, 3).model
    @test own[2].μ != r.model[2].μ && own[2].γ != r.model[2].γ
    @test own[1].weight == r.model[1].weight
    @test r.clients[3].personal_loss ≈
          loss_on(Flux.testmode!(own), x[:, test[3]], y[test[3]])
end

@testset "fine-tuned models" begin
    train, test = parts_of(0.25)
    settings = (; quick..., dataset = Dataset(x, y, nothing, nothing), client_test = 0.25)
    r = FedFlux.run(; settings..., finetune_epochs = 30)
    @test r.finetuned_accuracy === nothing      # no test data but the clients'
    # One batch per epoch: gradient descent, whatever the order.
    r = FedFlux.run(; settings..., finetune_epochs = 5, batch_size = 50)
    m = deepcopy(r.model)
    for _ = 1:5
        train_model!(m, (x[:, train[2]], y[train[2]]); batchsize = 50,
            optimizer = Descent(0.1f0))
    end
    @test r.clients[2].personal_loss ≈ loss_on(m, x[:, test[2]], y[test[2]]) rtol = 1e-4
    @test r.clients[2].loss ≈ loss_on(r.model, x[:, test[2]], y[test[2]])
end

@testset "a deployment has no clients' data to keep" begin
    why = message(() -> FedFlux.check_deployable(FedFlux.Options(; client_test = 0.2)))
    @test occursin("client_test can't be used in a deployment", why)
end

@testset "no such personal model" begin
    plain = FedFlux.run(; quick..., rounds = 1)
    @test occursin("ditto, fedper, fedrep and fedbn", message(() -> personal(plain, 1)))
    owner = [7, 2][mod1.(1:120, 2)]
    owned = Dataset(x, y, xt, yt; owner)
    r = FedFlux.run(; quick..., dataset = owned, partition = "owner", rules = "ditto")
    @test personal(r, 7).parameters == FedFlux.personal_model(r, 2, 7).parameters
    @test occursin("no client 1; expected a name", message(() -> personal(r, 1)))
    names = Dataset(x, y, xt, yt; owner = ["b", "a"][mod1.(1:120, 2)])
    r = FedFlux.run(; quick..., dataset = names, partition = "owner", rules = "ditto")
    @test personal(r, "b").parameters == personal(r, 2).parameters
    @test occursin("or a number from 1 to 2", message(() -> personal(r, 3)))
end

using FedFlux: BLAS, WorkerPool, engine, flatten, local_baseline, centralized_baseline,
    personal_accuracy, finetuned_accuracy, labelcounts, evaluate_own, global_model

x, y = blobs(240)
xt, yt = blobs(150; rng = Xoshiro(7))
order = sortperm(y)     # three clients, about one class each
clients = Clients(x, y, [order[1:80], order[81:160], order[161:240]])
counts = labelcounts(clients, 3)
setup(; kw...) = (
    f = Federated(
        softmax_regression(6, 3; rng = Stream(1, :init));
        optimizer = Descent(0.1f0),
        batchsize = 16,
        kw...
    );
    (f, WorkerPool(f, clients))
)

"The accuracy of a model at client k's mix of labels."
own_mix(model, k) = (
    right = [mean(Flux.onecold(model(xt[:, yt .== c]), 0:2) .== c) for c = 0:2];
    sum(counts[:, k] .* right) / sum(counts[:, k])
)

@testset "personal accuracy is that of the models that clients would use" begin
    f, pool = setup(; rules = (Ditto(lam = 0.1),))
    st, history, _ =
        fit!(f, State(f, engine(pool)), clients; rounds = 3, test = (xt, yt), pool)
    models = map(1:3) do k
        m = deepcopy(f.model)
        θ = FedFlux.to_model!(similar(st.θ), engine(pool), st.private[k][1].w)
        FedFlux.scatter!(Optimisers.trainables(m), θ)
        m
    end
    @test last(history).personal_accuracy ≈ mean(own_mix(models[k], k) for k = 1:3)
    @test last(history).personal_accuracy > last(history).accuracy
    @test occursin("personal accuracy", repr(last(history)))
    plain, pool = setup()
    _, history, _ =
        fit!(plain, State(plain, engine(pool)), clients; rounds = 1, test = (xt, yt), pool)
    @test last(history).personal_accuracy === nothing
end

@testset "the baselines" begin
    f, pool = setup(; epochs = 2)
    # local: what federations of one client give, up to the order of batches
    alone = local_baseline(pool, f, clients, 4, (xt, yt), counts)
    singles = map(1:3) do k
        one = Clients(x, y, [collect(FedFlux.indices(clients, k))])
        st, _ = fit!(f, State(f, engine(pool)), one; rounds = 4, pool)
        global_model(f, st, engine(pool))
    end
    @test alone.personal_accuracy ≈ mean(own_mix(singles[k], k) for k = 1:3) atol = 0.03
    single_accuracy = mean(mean(Flux.onecold(m(xt), 0:2) .== yt) for m in singles)
    @test alone.accuracy ≈ single_accuracy atol = 0.1
    @test alone.accuracy < 0.85 < 0.9 < alone.personal_accuracy
    central = centralized_baseline(pool, f, clients, 4, (xt, yt))
    @test central.accuracy > 0.9 > alone.accuracy
    # fine-tuning: nothing after 0 epochs, near each client's own after many
    st, history, _ =
        fit!(f, State(f, engine(pool)), clients; rounds = 2, test = (xt, yt), pool)
    model = global_model(f, st, engine(pool))
    @test finetuned_accuracy(pool, f, st, clients, 0, (xt, yt), counts) ≈
          mean(own_mix(model, k) for k = 1:3)
    @test finetuned_accuracy(pool, f, st, clients, 5, (xt, yt), counts) >
          last(history).accuracy
end

@testset "BLAS's threads change no figure of a result" begin
    before = BLAS.get_num_threads()
    figures(threads) = begin
        BLAS.set_num_threads(threads)
        r = FedFlux.run(; dataset = "digits", model = "mlp", hidden = [300],
            clients = 3,
            batch_size = 200, rounds = 1, lr = 0.2, trainer = "zygote",
            client_test = 0.3,
            baselines = ["centralized", "local"], finetune_epochs = 2)
        @test BLAS.get_num_threads() == threads              # as the user had it
        (r.params_sha256, r.finetuned_accuracy, r.baselines,
            [(h.test_loss, h.accuracy) for h in r.history],
            [(row.loss, row.personal_loss) for row in r.clients])
    end
    try
        @test figures(1) == figures(4)
    finally
        BLAS.set_num_threads(before)
    end
end

@testset "a run tells them" begin
    test = Dataset(x, y, xt, yt)
    r = FedFlux.run(; dataset = test, model = "softmax_regression", clients = 3, rounds = 2,
        lr = 0.1, rules = "ditto(lam=0.5)",
        baselines = ["centralized", "local"], finetune_epochs = 1)
    @test Set(keys(r.baselines)) == Set(["centralized", "local"])
    @test r.baselines["centralized"].accuracy > 0.5 && 0 < r.finetuned_accuracy <= 1
    @test last(r.history).personal_accuracy > 0
    @test occursin(
        "need test data",
        message(
            () -> FedFlux.run(;
                dataset = Dataset(x, y, nothing, nothing),
                model = "softmax_regression",
                clients = 3,
                baselines = ["local"]
            )
        )
    )
end

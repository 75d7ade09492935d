include("../setup/ten_clients.jl")
using FedFlux: learning_rate, scheduled

@testset "factors by the round" begin
    @test [StepDecay(every = 2, factor = 0.5)(r) for r = 1:5] == [1, 1, 0.5, 0.5, 0.25]
    @test [ExponentialDecay(factor = 0.5)(r) for r = 1:3] == [1, 0.5, 0.25]
    @test [CosineDecay(rounds = 5, final = 0.2)(r) for r in (1, 3, 5, 9)] ≈
          [1, 0.6, 0.2, 0.2]
    @test CosineDecay(rounds = 1)(1) == 1
    @test [Warmup(rounds = 4)(r) for r in (1, 2, 4, 5)] == [0.25, 0.5, 1, 1]
    both = (Warmup(rounds = 2), ExponentialDecay(factor = 0.5))
    @test scheduled(Descent(0.1), both, 1).eta ≈ 0.05
    @test scheduled(FedAdam(lr = 0.4), (Warmup(rounds = 2),), 1) == FedAdam(lr = 0.2)
    @test scheduled(Adam(0.1), (), 7) == Adam(0.1)
end

@testset "clients and server follow them" begin
    # One client ½a(w − b)², one step per round: w ← w − ηᵣ a (w − b).
    clients = Clients(reshape(Float32[2, 1], 2, 1), zeros(Float32, 1), [1:1])
    lr = 0.1 .* [0.5, 1, 1] .* [1, 0.5, 0.25]
    w = foldl((w, η) -> w - η * 2 * (w - 1), lr; init = 0.0)
    schedule = (Warmup(rounds = 2), ExponentialDecay(factor = 0.5))
    θ, _ = fit_quadratic(clients, 1; optimizer = Descent(0.1f0), rounds = 3, schedule)
    @test θ ≈ [w] rtol = 1e-5
    server = ServerStep(Descent(1.0f0); schedule)
    θ, _ = fit_quadratic(clients, 1; optimizer = Descent(0.1f0), rounds = 3, server)
    @test θ ≈ [w] rtol = 1e-5
    @test occursin("no server optimizer", message(() -> ServerStep(; schedule)))
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
            message(() -> Federated(ten_model(); optimizer = o,
                rules = (rule,)))
        )
    end
end

@testset "a schedule that reaches 0" begin
    schedule = (CosineDecay(rounds = 2),)
    for rule in (Scaffold(), QFFL(q = 1.0f0), FedNova(), FedDyn())
        st, history = fit_ten(ten_federated(; rules = (rule,), schedule); rounds = 4)
        @test all(isfinite, st.θ) && all(r -> isempty(r.rejected), history)
    end
    tuned =
        FedFlux.run(dataset = "digits", model = "softmax_regression", clients = 5, lr = 0.5,
            partition = "labels(k=2)", rounds = 2, schedule = "cosine(rounds=2)",
            finetune_epochs = 3)
    @test tuned.finetuned_accuracy > FedFlux.accuracy(tuned)
end

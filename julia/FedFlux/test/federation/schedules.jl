using FedFlux: scheduled

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

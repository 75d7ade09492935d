# What a server makes of models: averages over its rounds, models that come late, and an
# outer optimizer, each against its equations in Float64.
include("../setup/known_clients.jl")
include("../setup/erased.jl")
using FedFlux: arrivals, async_round!, engine, flatten, returned_state

@testset "EMA: the average of the models, and training as without it: $β" for β in (0, 0.8)
    clients, _ = sized_clients(3, UNEQUAL)
    make(rules...) = known_federation(clients, UNEQUAL, nothing, :samples, PLAIN;
        rules, server = FedAdam(lr = 0.1))[1]
    f = make(Quantize(8), erased(EMA(decay = β)), Download(Quantize(8)))
    plain = make(Quantize(8), Download(Quantize(8)))
    pool, plain_pool = WorkerPool(f, clients), WorkerPool(plain, clients)
    st, other, models = State(f, pool), State(plain, plain_pool), Vector{Float64}[]
    @test returned_state(f, st) === st
    for round = 1:6
        round!(f, st, clients, 1:8; pool)
        round!(plain, other, clients, 1:8; pool = plain_pool)
        @test st.θ == other.θ
        push!(models, st.θ)
        weights = [β^(round - i) for i = 1:round]
        @test returned_state(f, st).θ ≈ sum(weights .* models) / sum(weights) rtol = 1e-5
    end
end

@testset "EMA: the averaged model is evaluated, returned and kept as the best" begin
    settings = (; dataset = "digits", model = "mlp", hidden = [8], clients = 4, rounds = 4,
        lr = 1.5, batch_size = 16)
    models = []
    r = FedFlux.run(; settings..., rules = ["ema(decay=0.7)"],
        callback = (record, model) -> (push!(models, flatten(model.model)); nothing))
    plain = []
    p = FedFlux.run(;
        settings...,
        callback = (record, model) -> (push!(plain, flatten(model.model)); nothing)
    )
    weights = [0.7^(4 - i) for i = 1:4]
    @test flatten(r.model) ≈ sum(weights .* plain) / sum(weights) rtol = 1e-5
    @test models[end] == flatten(r.model) && models[1] ≈ plain[1]
    @test [h.train_loss for h in r.history] == [h.train_loss for h in p.history]
    d = FedFlux.digits()
    @test last(r.history).accuracy ≈
          count(FedFlux.predict(r, d.xtest) .== d.ytest) / length(d.ytest)
    @test FedFlux.run(; settings..., rules = ["ema(decay=0.7)"], rounds = 4,
        resume = FedFlux.run(; settings..., rules = ["ema(decay=0.7)"], rounds = 2)
    ).params_sha256 == r.params_sha256
end

@testset "FedAsync mixes models by their staleness: a = $a, b = $b" for (a, b) in
                                                                        ((0.5, nothing),
    (2.0, 1.0))
    clients, w = quadratic_clients(4, 6)
    data = Float64.(clients.x)
    # Two steps of one client, from some model.
    step(k, θ) = θ - 0.05 .* data[1:4, k] .* (θ - data[5:8, k])
    f = Federated(Point(zeros(Float32, 4)); loss = mean_of_outputs, batchsize = 1,
        optimizer = Descent(0.05f0), epochs = 2,
        rules = (FedAsync(; alpha = 0.7, a, b, concurrency = 4),))
    pool = WorkerPool(f, clients)
    st = State(f, engine(pool))
    models, stalest = [zeros(4)], 0
    for round = 1:30
        _, arrived = arrivals(f.rules[1], st.shared[1], st, clients, 1, f.seed)
        c = only(arrived)
        τ = round - 1 - c.round
        stalest = max(stalest, τ)
        α = 0.7 * (b === nothing ? (1 + τ)^-a : τ <= b ? 1 : 1 / (a * (τ - b) + 1))
        θ = models[c.round+1]
        push!(models, (1 - α) * models[end] + α * step(c.client, step(c.client, θ)))
        cohort, _ = async_round!(f, st, clients, 1; pool)
        @test cohort == [c.client]
        @test st.θ ≈ models[end] rtol = 1e-4
    end
    @test stalest >= 3
end

@testset "DiLoCo: kept AdamW on clients, Nesterov on the server" begin
    clients, _ = sized_clients(3, EQUAL)
    β₁, β₂, λ, η, outer, μ, H = 0.9, 0.95, 0.1, 0.05, 0.7, 0.9, 4
    o = FedFlux.construct(Val(:optimizer), Val(:adamw); lr = η, beta1 = β₁, beta2 = β₂,
        epsilon = 1e-8, weight_decay = λ, clip = nothing)
    f = Federated(Point(ones(Float32, 3)); loss = mean_of_outputs, batchsize = 4,
        optimizer = o, epochs = 10, maxsteps = H, weights = :uniform,
        rules = (FedFlux.KeepOptimizer(),), server = Optimisers.Nesterov(0.7, 0.9))
    st = ended(f, clients; rounds = 12, clients_per_round = 8)
    at = cumsum(EQUAL)
    a, b = Float64.(clients.x[1:3, at]), Float64.(clients.x[4:6, at])
    θ, velocity = ones(3), zeros(3)
    kept = [(zeros(3), zeros(3), 0) for _ = 1:8]
    for _ = 1:12
        Δ = map(1:8) do k
            w, (m, v, t) = θ, kept[k]
            for _ = 1:H
                g, t = a[:, k] .* (w - b[:, k]), t + 1
                m, v = β₁ * m + (1 - β₁) * g, β₂ * v + (1 - β₂) * g .^ 2
                w =
                    w - η * ((m / (1 - β₁^t)) ./ (sqrt.(v / (1 - β₂^t)) .+ 1e-8) + λ * w)
            end
            kept[k] = (m, v, t)
            θ - w                           # the paper's outer gradient
        end
        velocity = μ * velocity + sum(Δ) / 8
        θ = θ - outer * (sum(Δ) / 8 + μ * velocity)
    end
    @test st.θ ≈ θ rtol = 1e-3
    again = Federated(Point(ones(Float32, 3)); loss = mean_of_outputs, batchsize = 4,
        optimizer = o, epochs = 10, maxsteps = H, weights = :uniform,
        server = Optimisers.Nesterov(0.7, 0.9))
    @test distance(ended(again, clients; rounds = 12, clients_per_round = 8).θ, θ) > 0.02
end

@testset "what doesn't go together is refused" begin
    model = mlp(6, 3; hidden = (4,))
    refused(rules...; kw...) = message(() -> Federated(model; rules, kw...))
    @test occursin("a client's own model goes with the last", refused(EMA(), Ditto()))
    @test occursin("only one of this kind", refused(FedAsync(), FedBuff()))
    @test occursin("the rounds in which clients only send",
        refused(Mime(); server = FedAdam()))
    @test occursin("needs clients that train with sgd",
        refused(Scaffnew(); optimizer = Momentum(0.1)))
end

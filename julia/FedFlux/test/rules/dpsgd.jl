# The rule DPSGD: what a client's local steps are, and what is refused.

include("../setup/normal.jl")

using FedFlux: WorkerPool, batch, engine, example_mechanism, flatten, poisson_batch!
using FedFlux: to_engine!, to_model!, zeros32
using LinearAlgebra: norm

private(; kw...) = DPSGD(; reproducible = true, kw...)

# Rounds, with the parameters in the model's order; `st` goes on with a state.
function rounds_of(f, clients; n = 1, threads = 1, clients_per_round = length(clients))
    pool = WorkerPool(f, clients; threads)
    st = State(f, engine(pool))
    _, history, _ = fit!(f, st, clients; rounds = n, clients_per_round, pool)
    return to_model!(similar(st.θ), engine(pool), st.θ), history
end

# A loss without a gradient leaves nothing but noise.
nothing_to_learn(ŷ, y) = 0.0f0 * sum(ŷ)
wide() = Chain(Dense(zeros(Float32, 100, 99), zeros(Float32, 100)))      # 10,000 parameters

"What one client's steps add to θ, in units of the noise: lr σ C / B for each step."
function pure_noise(; n = 40, batchsize = 8, steps = 1, seed = 1, rounds = 1, client = 1:n,
    rule = private(; clip = 0.5, noise_multiplier = 1.2))
    f = Federated(wide(); loss = nothing_to_learn, trainer = :zygote, batchsize, seed,
        epochs = 1000, maxsteps = steps, optimizer = Descent(0.1f0), rules = (rule,))
    clients = Clients(randn(Xoshiro(1), Float32, 99, n), zeros(Int, n), [client])
    θ, _ = rounds_of(f, clients; n = rounds)
    return θ ./ (0.1 * 1.2 * 0.5 / min(batchsize, length(client)))
end

@testset "the noise of a step is N(0, (σC/B)²), once" begin
    @test looks_normal(pure_noise())
    @test looks_normal(pure_noise(; batchsize = 1))          # two batches of five are empty
    @test looks_normal(pure_noise(; batchsize = 100))        # every example in every step
    for steps in (2, 25)
        @test looks_normal(pure_noise(; steps, batchsize = 1) ./ sqrt(steps))
    end
    @test looks_normal(pure_noise(; rounds = 3) ./ sqrt(3))
    secret = DPSGD(clip = 0.5, noise_multiplier = 1.2)
    @test looks_normal(pure_noise(; rule = secret); sharp = false)
end

@testset "noise is drawn anew for each seed, round and client" begin
    a, b = pure_noise(), pure_noise(; seed = 2)
    @test a == pure_noise()
    @test abs(cor(a, b)) < 0.04
    two_rounds = pure_noise(; rounds = 2)
    @test abs(cor(a, two_rounds .- a)) < 0.04
    secure() = pure_noise(; rule = DPSGD(clip = 0.5, noise_multiplier = 1.2))
    @test abs(cor(secure(), secure())) < 0.06
    # Two clients: the mean of their noise has half the variance.
    f = Federated(wide(); loss = nothing_to_learn, trainer = :zygote, batchsize = 8,
        maxsteps = 1, optimizer = Descent(0.1f0), rules = (private(),))
    clients = Clients(zeros(Float32, 99, 40), zeros(Int, 40), [1:20, 21:40])
    @test looks_normal(rounds_of(f, clients)[1] ./ (0.1 / 8 / sqrt(2)))
end

@testset "Poisson batches" begin
    rng, order, rate = Stream(4, :batches), collect(1:30), 0.2
    chosen = zeros(Bool, 30, 20_000)
    for t in axes(chosen, 2)
        batch = poisson_batch!(Int[], order, rate, rng)
        @test issorted(batch) && allunique(batch)
        chosen[batch, t] .= true
    end
    # Each example with probability q; sizes as of a binomial distribution; independent.
    deviation = sqrt(rate * (1 - rate) / 20_000)
    @test all(abs.(vec(mean(chosen; dims = 2)) .- rate) .< 4 * deviation)
    sizes = vec(sum(chosen; dims = 1))
    @test abs(mean(sizes) - 6) < 4 * sqrt(4.8 / 20_000)
    @test abs(var(sizes) / 4.8 - 1) < 4 * sqrt(2 / 20_000)
    @test abs(cor(chosen[1, :], chosen[2, :])) < 4 / sqrt(20_000)
    @test abs(cor(chosen[1, 1:(end-1)], chosen[1, 2:end])) < 4 / sqrt(20_000)
    @test poisson_batch!([1, 2], order, 1.0, rng) == order
end

x, y = blobs(240)
clients = Clients(x, y, [1:100, 101:130, 131:240])
model = Chain(Dense(6 => 8, tanh), LayerNorm(8), Dense(8 => 3))

federated(; rules = (private(),), kw...) =
    Federated(model; optimizer = Descent(0.1f0), batchsize = 16, epochs = 2, seed = 4,
        rules, kw...)

"The steps of Algorithm 1 on one client, written out, without noise."
function by_hand(ks, clip, batchsize, steps; pull = 0)
    z, θ = ZygoteEngine(model, CrossEntropy()), flatten(model)
    w, g, rng = copy(θ), similar(θ), Stream(4, :batches, 1, 1)
    for _ = 1:steps
        total = zero(θ)
        for k in ks
            rand(rng, Float64) < batchsize / length(ks) || continue
            valgrad!(z, g, w, x[:, k:k], y[k:k])
            total .+= g .* min(1, clip / norm(g))
        end
        w .-= 0.1f0 .* (total ./ min(batchsize, length(ks)) .+ pull .* (w .- θ))
    end
    return w
end

@testset "the local steps are those of Algorithm 1" begin
    alone = Clients(x, y, [1:100])
    silent = private(; clip = 0.7, noise_multiplier = 0)
    for trainer in (:fast, :zygote)
        θ, _ = rounds_of(federated(; rules = (silent,), trainer), alone)
        @test θ ≈ by_hand(1:100, 0.7, 16, 14) rtol = 1e-5      # 2·⌈100/16⌉ steps
        θ, _ = rounds_of(federated(; rules = (silent,), trainer, batchsize = 1,
                maxsteps = 30), alone)
        @test θ ≈ by_hand(1:100, 0.7, 1, 30) rtol = 1e-5       # many batches are empty
        θ, _ = rounds_of(federated(; rules = (silent,), trainer, batchsize = 500), alone)
        @test θ ≈ by_hand(1:100, 0.7, 500, 2) rtol = 1e-5      # all examples
        # FedProx's term comes after the clip.
        rules = (FedProx(mu = 2), silent)
        θ, _ = rounds_of(federated(; rules, trainer), alone)
        @test θ ≈ by_hand(1:100, 0.7, 16, 14; pull = 2) rtol = 1e-5
    end
end

@testset "a batch larger than the engine's is computed in parts" begin
    r = private()
    worker(n) = FedFlux.Worker(LayerEngine(model, CrossEntropy(), (6,), n))
    sums = map((4, 100)) do n
        wk = worker(n)
        to_engine!(wk.w, wk.engine, flatten(model))
        part = similar(wk.g)
        loss = FedFlux.clipped_sum!(r, wk, part, x, y, collect(1:90), 100)
        (copy(wk.g), loss)
    end
    @test sums[1][1] ≈ sums[2][1] rtol = 1e-5
    @test sums[1][2] ≈ sums[2][2] rtol = 1e-5
    pool = WorkerPool(federated(), clients)
    @test FedFlux.maxbatch(engine(pool)) == 32                 # 16 + 4√16
    @test FedFlux.maxbatch(engine(WorkerPool(federated(; rules = ()), clients))) == 16
end

@testset "threads don't matter, and both engines agree" begin
    for rules in ((private(),), (private(), Scaffold()), (private(; clip = 0.1), FedBuff()))
        f = federated(; rules)
        θ, history = rounds_of(f, clients; n = 3, clients_per_round = 2)
        @test all(isfinite, θ)
        for threads = 2:min(2, Threads.nthreads())
            @test rounds_of(f, clients; n = 3, threads, clients_per_round = 2)[1] == θ
        end
        slow = federated(; rules, trainer = :zygote)
        @test rounds_of(slow, clients; n = 3, clients_per_round = 2)[1] ≈ θ rtol = 2e-3
    end
end

@testset "it learns" begin
    f = federated(; rules = (private(; noise_multiplier = 0.5),), epochs = 5)
    _, history = rounds_of(f, clients; n = 5)
    @test last(history).train_loss < 0.7 * first(history).train_loss
end

@testset "what an accountant needs" begin
    f = federated(; rules = (FedProx(), DPSGD(noise_multiplier = 1.3)))
    @test example_mechanism(f, 100) ==
          (; noise_multiplier = 1.3, sampling_rate = 0.16, steps = 14)
    @test example_mechanism(f, 10) ==
          (; noise_multiplier = 1.3, sampling_rate = 1.0, steps = 2)
    @test example_mechanism(federated(; rules = ()), 10) === nothing
end

@testset "what is refused" begin
    refused(words; kw...) = @test occursin(words, message(() -> federated(; kw...)))
    refused("FedSGD", rules = (FedSGD(), DPSGD()), epochs = 1)
    refused("also trains", rules = (DPSGD(), Ditto()))
    refused("also trains", rules = (FedRep(), DPSGD()))
    refused("losses", rules = (DPSGD(), QFFL()))
    refused("losses", rules = (AFL(), DPSGD()))
    refused("something else", rules = (DPSGD(), DPSGD(clip = 2)))
    refused("something else", rules = (DPSGD(), ClientDP()), weights = :uniform)
    refused("set aside", aggregate = FLTrust(10))
    refused("mixup", augment = (FedFlux.Mixup(),))
    for clip in (0, -1, NaN, Inf)
        refused("clip is", rules = (DPSGD(; clip),))
    end
    for noise_multiplier in (-1, NaN, Inf)
        refused("noise_multiplier is", rules = (DPSGD(; noise_multiplier),))
    end
    batchnorm = Chain(Dense(6 => 8), BatchNorm(8), Dense(8 => 3))
    @test occursin("LayerNorm", message(() -> Federated(batchnorm; rules = (DPSGD(),))))
    @test Federated(batchnorm) isa Federated
end

@testset "from its name" begin
    @test FedFlux.build("rule", "dpsgd") === DPSGD()
    r = FedFlux.build("rule", "dpsgd(clip=0.5, noise_multiplier=2, reproducible=true)")
    @test r === DPSGD(; clip = 0.5, noise_multiplier = 2.0, reproducible = true)
    options = (; dataset = "digits", model = "softmax_regression", clients = 3, rounds = 2)
    go(rule) = FedFlux.run(; options..., rules = [rule]).params_sha256
    seeded = "dpsgd(reproducible=true)"
    @test go(seeded) == go(seeded)
    @test go("dpsgd") != go("dpsgd")
end

@testset "ε after each round: that of the client whose examples it is highest for" begin
    sizes = [9, 40, 17]
    parts = [1:9, 10:49, 50:66]
    clients = Clients(randn(Xoshiro(1), Float32, 4, 66), rand(Xoshiro(2), 0:1, 66), parts)
    f = Federated(softmax_regression(4, 2); batchsize = 8, epochs = 2,
        rules = (private(; noise_multiplier = 1.1, delta = 1e-4),))
    _, history = rounds_of(f, clients; n = 3, clients_per_round = 2)
    cost(n, rounds; kw...) = epsilon(; noise_multiplier = 1.1, delta = 1e-4,
        steps = rounds * 2 * cld(n, 8), kw...)
    for r = 1:3         # the batches follow from the seed, and chance counts for nothing
        @test history[r].epsilon ≈ maximum(n -> cost(n, r; sampling = :none), sizes)
    end
    secret = DPSGD(; noise_multiplier = 1.1, delta = 1e-4)
    f = Federated(softmax_regression(4, 2); batchsize = 8, epochs = 2, rules = (secret,))
    _, history = rounds_of(f, clients; n = 3, clients_per_round = 2)
    for r = 1:3
        @test history[r].epsilon ≈ maximum(n -> cost(n, r; sampling_rate = 8 / n), sizes)
    end
end

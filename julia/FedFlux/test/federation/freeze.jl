# What doesn't train is neither changed nor sent: layers that are frozen by name, and what a
# model itself leaves out of its trainable parameters.
using FedFlux: FrozenEngine, Layout, WorkerPool, engine, flatten, global_model, nstats
using FedFlux: statistics

x, y = blobs(240)
clients = Clients(x, y, [1:100, 101:130, 131:240])

"A body that stays as it is, and a head."
struct Headed{B,H}
    body::B
    head::H
end
Flux.@layer Headed trainable = (head,)
(m::Headed)(x) = m.head(m.body(x))

"A Dense layer with an adapter of low rank beside its weights (arXiv:2106.09685)."
struct Adapted
    W::Matrix{Float32}
    A::Matrix{Float32}
    B::Matrix{Float32}
end
Flux.@layer Adapted trainable = (A, B)
(l::Adapted)(x) = l.W * x .+ l.B * (l.A * x)

"A layer with a running mean of its own, declared or not."
struct Centered{D}
    mean::Vector{Float32}
end
Flux.@layer Centered trainable = ()
function (l::Centered)(x)
    FedFlux.Zygote.ignore() do
        l.mean .+= 0.1f0 .* (vec(sum(x; dims = 2)) .- l.mean)
    end
    return x .- l.mean
end
FedFlux.running_statistics(l::Centered{true}) = (l.mean,)

dense(in, out; kw...) =
    Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)), kw...)
layers() = (dense(6, 8), dense(8, 8), dense(8, 3))
plain() = ((a, b, c) = layers(); Chain(a, b, c))

function trained(model; rounds = 2, trainer = :auto, kw...)
    f = Federated(model; optimizer = Descent(0.05f0), batchsize = 16, seed = 4, trainer,
        weights = :uniform, kw...)
    pool = WorkerPool(f, clients)
    st = State(f, pool)
    _, history, _ = fit!(f, st, clients; rounds, pool, test = (x, y))
    return (; f, st, history, model = global_model(f, st, engine(pool)), pool)
end

@testset "a frozen body is no statistic, and not sent" begin
    a, b, c = layers()
    model = Headed(Chain(a, b), c)
    @test isempty(statistics(model))
    r = trained(model)
    head = 4 * (8 * 3 + 3)
    @test r.history[1].bytes_up == 3 * head && r.history[1].bytes_down == 3 * head
    @test flatten(r.model.body) == flatten(model.body)
    @test flatten(r.model.head) != flatten(model.head)
end

@testset "by name it is the same, bit for bit" begin
    a, b, c = layers()
    owned = trained(Headed(Chain(a, b), c))
    named = trained(plain(); freeze = ["layers.1", "layers.2"], trainer = :zygote)
    @test named.st.θ == owned.st.θ
    @test map(r -> r.test_loss, named.history) == map(r -> r.test_loss, owned.history)
    @test named.history[1].bytes_up == owned.history[1].bytes_up
    # One array of a layer, below a layer that trains; on both engines.
    for freeze in (["layers.2.weight"], ["layers.1", "layers.3.bias"])
        fast, slow = (trained(plain(); freeze, trainer = t) for t in (:fast, :zygote))
        @test engine(fast.pool) isa FrozenEngine
        @test fast.st.θ ≈ slow.st.θ rtol = 1e-4
        @test length(fast.st.θ) == Layout(plain(), freeze).n
        before, after = FedFlux.named_arrays(plain()), FedFlux.named_arrays(fast.model)
        for ((name, was), (_, is)) in zip(before, after)
            @test (was == is) == FedFlux.is_named(name, freeze)
        end
    end
end

@testset "on the fast engine, images and a flatten between" begin
    images = rand(Xoshiro(1), Float32, 8, 8, 1, 60)
    held = Clients(images, y[1:60], [1:30, 31:60])
    init = Flux.glorot_uniform(Stream(5, :init))
    cnn = Chain(Conv((3, 3), 1 => 4, relu; init), MaxPool((2, 2)), Flux.flatten,
        Dense(36 => 3; init))
    θ = map((:fast, :zygote)) do trainer
        f = Federated(cnn; freeze = ["layers.1"], trainer, batchsize = 10)
        pool = WorkerPool(f, held)
        st = State(f, pool)
        fit!(f, st, held; rounds = 2, pool)
        model = global_model(f, st, engine(pool))
        @test model[1].weight == cnn[1].weight && model[4].weight != cnn[4].weight
        flatten(model)
    end
    @test θ[1] ≈ θ[2] rtol = 1e-4
end

@testset "private rules accept it" begin
    a, b, c = layers()
    body = Chain(a, BatchNorm(8), b)
    for rule in (ClientDP(; clip = 0.5, reproducible = true),
        LocalDP(; noise_multiplier = 0.1, reproducible = true),
        DPSGD(; clip = 0.5, reproducible = true))
        r = trained(Headed(Chain(a, b), c); rules = (rule,))
        @test flatten(r.model.body) == flatten(Chain(a, b)) && r.history[end].epsilon > 0
        r = trained(Chain(body, c); rules = (rule,), freeze = ["layers.1"])
        @test flatten(r.model[1]) == flatten(body) && r.history[end].epsilon > 0
        @test occursin("freeze it", message(() -> trained(Chain(body, c); rules = (rule,))))
    end
end

@testset "an example's gradient is clipped by what trains" begin
    a, b, c = layers()
    owned = ZygoteEngine(Headed(Chain(a, b), c), CrossEntropy())
    w, n = flatten(c), 9
    expected = clipped_gradient!(owned, similar(w), w, x[:, 1:n], y[1:n], 0.3), similar(w)
    g = similar(w)
    clipped_gradient!(owned, g, w, x[:, 1:n], y[1:n], 0.3)
    for trainer in (:fast, :zygote)
        e, = FedFlux.make_engine(trainer, plain(), CrossEntropy(), x, n,
            ["layers.1", "layers.2"])
        we = FedFlux.to_engine!(similar(w), e, w)
        ge = similar(w)
        clipped_gradient!(e, ge, we, FedFlux.batch(e, x, y, 1:n)..., 0.3)
        @test FedFlux.to_model!(similar(w), e, ge) ≈ g rtol = 1e-4
    end
end

@testset "adapters alone travel" begin
    rng = Xoshiro(3)
    model = Chain(
        Adapted(randn(rng, Float32, 8, 6), randn(rng, Float32, 2, 6),
            zeros(Float32, 8, 2)), dense(8, 3))
    r = trained(model; freeze = ["layers.2"])
    @test r.history[1].bytes_up == 3 * 4 * (2 * 6 + 8 * 2)
    @test r.model[1].W == model[1].W && r.model[1].B != model[1].B
    @test r.model[2].weight == model[2].weight
end

@testset "a frozen BatchNorm stays as it is" begin
    a, b, c = layers()
    model = Chain(a, BatchNorm(8), c)
    model[2].μ .= 0.5f0
    for trainer in (:fast, :zygote)
        r = trained(model; freeze = ["layers.2"], trainer)
        @test nstats(engine(r.pool)) == 0 && isempty(r.st.stats)
        @test r.model[2].μ == model[2].μ && r.model[2].γ == model[2].γ
        @test r.model[1].weight != model[1].weight
        free = trained(model; trainer)
        @test nstats(engine(free.pool)) == 16 && free.model[2].μ != model[2].μ
    end
    @test model[2].active === nothing      # the user's own is as it was
end

@testset "statistics of a layer of one's own" begin
    declared = trained(Chain(Centered{true}(zeros(Float32, 6)), dense(6, 3)))
    @test length(declared.st.stats) == 6 && !iszero(declared.st.stats)
    lost = message(() -> trained(Chain(Centered{false}(zeros(Float32, 6)), dense(6, 3))))
    @test occursin("layers.1.mean changed in training", lost)
    @test occursin("running_statistics", lost)
end

@testset "a rule that adds to the loss, on both engines" begin
    rule = (FedFlux.build("rule", "moon(mu=1)"),)
    fast, slow = (
        trained(plain(); rules = rule, freeze = ["layers.1"], trainer = t) for
        t in (:fast, :zygote)
    )
    @test fast.st.θ ≈ slow.st.θ rtol = 1e-5
    @test fast.model[1].weight == plain()[1].weight
    without = trained(plain(); freeze = ["layers.1"], trainer = :fast)
    @test !isapprox(fast.st.θ, without.st.θ; rtol = 1e-4)
end

@testset "with the other options: $rules" for rules in ("scaffold", "ditto(lam=0.5)",
    "fedper", "topk(fraction=0.5)", "powersgd(rank=1)", "prune(sparsity=0.5)")
    r = trained(plain(); rules = (FedFlux.build("rule", rules),), freeze = ["layers.1"])
    @test r.model[1].weight == plain()[1].weight
    @test all(isfinite, r.st.θ) && r.model[2].weight != plain()[2].weight
end

@testset "with the other options: $aggregate" for aggregate in (Median(), SecureMean())
    r = trained(plain(); aggregate, freeze = ["layers.1"])
    @test r.model[1].weight == plain()[1].weight && r.model[2].weight != plain()[2].weight
end

@testset "names that are not there" begin
    @test occursin(
        "freeze: the model has no layers.9; expected names of layers, such as " *
        "layers.1, layers.2, layers.3",
        message(() -> trained(plain(); freeze = ["layers.9"])))
    @test occursin("leaves nothing to train",
        message(() -> trained(plain(); freeze = ["layers"])))
    @test occursin("freeze keeps layers.1",
        message(
            () -> trained(plain(); freeze = ["layers.1"],
                rules = (PruneChannels(0.5),))
        ))
end

@testset "a run freezes, saves and resumes with what it began with" begin
    settings = (; dataset = "digits", clients = 4, model = "mlp", hidden = [8], lr = 0.3)
    first_run = FedFlux.run(; settings..., rounds = 2)
    mktempdir() do dir
        whole = FedFlux.run(; settings..., init = first_run, freeze = ["layers.2"],
            rounds = 3, seed = 7)
        FedFlux.run(; settings..., init = first_run, freeze = ["layers.2"], rounds = 2,
            seed = 7, checkpoint = dir)
        rest = FedFlux.run(; resume = dir, rounds = 3)
        @test rest.params_sha256 == whole.params_sha256
        half = FedFlux.run(; settings..., init = first_run, freeze = ["layers.2"],
            rounds = 2, seed = 7)
        @test FedFlux.run(; resume = half, rounds = 3).params_sha256 == whole.params_sha256
        # The result holds the whole model.
        @test whole.names == first_run.names
        @test whole.parameters[1] == first_run.parameters[1]
        @test whole.parameters[end] != first_run.parameters[end]
        x = FedFlux.digits().xtest
        saved = FedFlux.load_result(FedFlux.save(joinpath(dir, "run.safetensors"), whole))
        @test predict(saved, x) == predict(whole, x)
    end
end

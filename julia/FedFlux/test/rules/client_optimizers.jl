# The clients' optimizers, step by step against their papers' equations in Float64, and what
# they cost; keeping their state.

using FedFlux: KeepOptimizer, WorkerPool, build, learning_rate, step!

# Each as PyTorch's documentation writes it, with a state of two vectors.
function written_anew(name, p, lr)
    m, v, t = 0.0, 0.0, 0
    return function (w, g)
        haskey(p, :clip) && (g = g .* min(1, p.clip / sqrt(sum(abs2, g))))
        λ = get(p, :weight_decay, 0.0)
        t += 1
        name == "adamw" ? (w = w .* (1 - lr * λ)) : (g = g .+ λ .* w)
        if name == "sgd"
            ρ = get(p, :momentum, 0.0)
            m = t == 1 ? g : ρ .* m .+ g
            d = get(p, :nesterov, false) ? g .+ ρ .* m : m
            return w .- lr .* d
        elseif name == "rmsprop"
            v = p.rho .* v .+ (1 - p.rho) .* g .^ 2
            return w .- lr .* g ./ (sqrt.(v) .+ 1e-8)
        elseif name == "adagrad"
            v = v .+ g .^ 2
            return w .- lr .* g ./ (sqrt.(v) .+ 1e-10)
        end
        β₁, β₂ = get(p, :beta1, 0.9), get(p, :beta2, 0.999)
        m = β₁ .* m .+ (1 - β₁) .* g
        v = β₂ .* v .+ (1 - β₂) .* g .^ 2
        size = lr ./ (1 - β₁^t)
        return w .- size .* m ./ (sqrt.(v) ./ sqrt(1 - β₂^t) .+ 1e-8)
    end
end

const WRITTEN = [
    ("sgd", (;)), ("sgd", (; momentum = 0.9)), ("sgd", (; weight_decay = 0.1)),
    ("sgd", (; momentum = 0.8, nesterov = true, weight_decay = 0.05)),
    ("sgd", (; clip = 0.5)),
    ("sgd", (; momentum = 0.9, weight_decay = 0.1, clip = 2.0)),
    ("adam", (;)), ("adam", (; beta1 = 0.8, beta2 = 0.95, weight_decay = 0.1)),
    ("adamw", (; weight_decay = 0.2)), ("adamw", (; weight_decay = 0.1, clip = 1.0)),
    ("rmsprop", (; rho = 0.9)), ("rmsprop", (; rho = 0.99, weight_decay = 0.1)),
    ("adagrad", (;)), ("adagrad", (; weight_decay = 0.1, clip = 0.3))
]

spec(name, p) = "$name($(join(("$k=$v" for (k, v) in pairs(p)), ", ")))"
made(name, p; lr = 0.05) =
    FedFlux.construct(Val(:optimizer), Val(Symbol(name)); lr,
        last(FedFlux.parse_spec("optimizer", spec(name, p)))...)

function three_steps(o, state, w, g)
    for _ = 1:3
        state = step!(o, state, w, g)
    end
    return state
end

function bytes_of_steps(o, w, g)
    state = three_steps(o, Optimisers.init(o, w), w, g)
    return @allocated three_steps(o, state, w, g)
end

@testset "$(spec(name, p))" for (name, p) in WRITTEN
    o, rng = made(name, p; lr = 0.05), Xoshiro(3)
    w = randn(rng, Float32, 40)
    exact, anew, state = Float64.(w), written_anew(name, p, 0.05), Optimisers.init(o, w)
    for _ = 1:12
        g = randn(rng, Float32, 40)
        state = step!(o, state, w, copy(g))
        exact = anew(exact, Float64.(g))
        @test w ≈ exact rtol = 2e-5
    end
    @test learning_rate(o) == 0.05f0
    @test learning_rate(FedFlux.scheduled(o, (Returns(0.5),), 1)) == 0.025f0
    @test bytes_of_steps(o, w, randn(rng, Float32, 40)) == 0
end

@testset "the old names are the same optimizers" begin
    @test FedFlux.client_optimizer(
              FedFlux.Options(optimizer = "momentum", momentum = 0.7,
                  lr = 0.1)
          ) === Optimisers.Momentum(0.1, 0.7) ===
          FedFlux.client_optimizer(FedFlux.Options(optimizer = "sgd(0.7)", lr = 0.1))
    @test FedFlux.client_optimizer(FedFlux.Options(lr = 0.1)) === Descent(0.1f0)
    @test FedFlux.client_optimizer(FedFlux.Options(optimizer = "adam", lr = 0.1)) ===
          Optimisers.Adam(0.1)
    rule = Optimisers.Lion(0.1)
    @test FedFlux.client_optimizer(FedFlux.Options(optimizer = rule)) === rule
    @test occursin("expected a momentum",
        message(() -> FedFlux.build("optimizer", "sgd(nesterov=true)")))
end

@testset "rules take the optimizers that their equations hold for" begin
    federated(rule, o) = Federated(softmax_regression(4, 2); rules = (rule,), optimizer = o)
    taken(rule, text) = federated(rule, build("optimizer", text)) isa Federated
    @test taken(Scaffold(), "sgd(weight_decay=0.1)")
    @test taken(FedNova(), "sgd(momentum=0.9, nesterov=true, clip=1, weight_decay=0.1)")
    why(rule, text) = message(() -> taken(rule, text))
    @test occursin("Scaffold needs clients that train with sgd, without momentum and clip",
        why(Scaffold(), "sgd(clip=1)"))
    @test occursin("their optimizer is ClipGradientNorm and Descent",
        why(Scaffold(), "sgd(clip=1)"))
    @test occursin("FedNova needs clients that train with sgd or momentum",
        why(FedNova(), "adamw"))
    # The amount of work is that of a constant gradient.
    for text in ("sgd", "sgd(0.6)", "sgd(0.6, true)")
        o, w = build("optimizer", text), zeros(Float32, 1)
        state = Optimisers.init(o, w)
        foreach(_ -> state = step!(o, state, w, [1.0f0]), 1:7)
        @test -only(w) / learning_rate(o) ≈ FedFlux.local_work(o, 7) rtol = 1e-5
    end
    for (rule, why) in (FedNova() => "earlier rounds", FedSGD() => "take no step")
        @test occursin(
            why,
            message(
                () -> Federated(softmax_regression(4, 2);
                    rules = (rule, KeepOptimizer()))
            )
        )
    end
end

@testset "a kept optimizer goes on where it was" begin
    # One client that takes every step itself: two rounds are one of twice the length.
    x, y = rand(Xoshiro(1), Float32, 4, 8), rand(Xoshiro(2), 0:1, 8)
    function trained(rounds, epochs, rules; optimizer = "adamw")
        f = Federated(softmax_regression(4, 2, rng = Xoshiro(4)); rules, epochs,
            batchsize = 8, optimizer = build("optimizer", optimizer))
        st = State(f, WorkerPool(f, x; threads = 1))
        clients = Clients(x, Int32.(y), [1:8])
        fit!(f, st, clients; rounds, pool = WorkerPool(f, clients; threads = 1))
        return f, st
    end
    for optimizer in ("adamw", "sgd(0.9)", "rmsprop", "adagrad", "sgd(0.9, clip=0.1)")
        _, once = trained(1, 6, (); optimizer)
        _, kept = trained(3, 2, (KeepOptimizer(),); optimizer)
        _, anew = trained(3, 2, (); optimizer)
        @test once.θ ≈ kept.θ rtol = 1e-5
        @test !isapprox(once.θ, anew.θ; rtol = 1e-3)
    end
    # A checkpoint holds it.
    f, st = trained(2, 1, (KeepOptimizer(),))
    arrays = Dict{String,Array}()
    back = FedFlux.unpack(FedFlux.pack(st.private, "p", arrays), arrays)
    @test back == st.private && only(st.private[1])[3] isa NTuple{2,Float32}
end

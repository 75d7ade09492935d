# What every rule and every server step must keep, from one list. A new rule is added to it.
include("../setup/erased.jl")
using FedFlux: WorkerPool, engine, flatten, global_model, build, Unsupported, SPECS

const RULES =
    ["fedprox(mu=0.1)", "scaffold", "fednova", "feddyn(alpha=0.1)", "ditto(lam=0.5)",
        "fedper", "fedrep(head_epochs=2)", "fedbn",
        "fedsgd", "qffl(q=1)", "afl(lr=0.05)", "fedbuff(concurrency=2)",
        "fedasync(concurrency=2)"]
# Steps of at most lr a value: small ones, for a small model.
const SERVERS =
    [
        "sgd(lr=0.5)",
        "fedavgm(lr=0.5)",
        "nesterov(lr=0.3)",
        "fedadagrad(lr=0.02)",
        "fedadam",
        "fedyogi"
    ]
const METHODS =
    ["lgfedavg", "fedbabu", "fedlc", "fedrod", "fedrs(few=12)", "fedexp",
        "fedcm(alpha=0.5)",
        "feddc", "fedadmm", "term", "fedsam", "perfedavg", "pfedme(lam=5)", "apfl",
        "mimelite", "mime", "scaffnew", "ema", "feddisco", "ifca", "fedntd", "moon",
        "fedproto", "fedala"]
# Those that take one loss only.
const ON_LABELS =
    ("feddisco", "fedlc", "fedrod", "fedrs(few=12)", "fedntd", "moon", "fedproto")

x, y = blobs(240)
clients = Clients(x, y, [1:100, 101:130, 131:240])
model = Chain(Dense(6 => 8), BatchNorm(8, tanh), Dense(8 => 3))

function federated(; rules = (), server = nothing, trainer = :zygote, kw...)
    return Federated(model; optimizer = Descent(0.05f0), batchsize = 16, seed = 4,
        rules = Tuple(erased(build("rule", r)) for r in rules),
        server = server === nothing ? nothing : build("server", server), trainer, kw...)
end

"""
Rounds from the initial state, or on from `st`; gives the parameters in model order, the
state and the history.
"""
function rounds(f; n = 3, threads = 1, clients_per_round = 2, st = nothing)
    pool = WorkerPool(f, clients; threads)
    st = st === nothing ? State(f, engine(pool)) : st
    _, history, _ =
        fit!(f, st, clients; rounds = st.round + n, clients_per_round, pool, test = (x, y))
    return flatten(global_model(f, st, engine(pool))), st, history
end

@testset "the list is complete" begin
    name(text) = first(split(text, '('))
    @test issubset(name.(SERVERS), keys(SPECS["server"])) &&
          issubset(keys(SPECS["server"]), name.(SERVERS))
    @test issubset(name.([RULES; METHODS]), keys(SPECS["rule"]))
    # The defaults of specs.toml are those of the constructors.
    for rule in name.([RULES; METHODS])
        @test repr(build("rule", rule)) ==
              repr(getfield(FedFlux, Symbol(SPECS["rule"][rule]["class"]))())
    end
    for server in ("fedadagrad", "fedadam", "fedyogi")
        @test build("server", server) ==
              getfield(FedFlux, Symbol(SPECS["server"][server]["class"]))()
    end
end

plain, _, history = rounds(federated())

@testset "$(something(rule, server))" for (rule, server) in [
    [(r, nothing) for r in [RULES; METHODS]];
    [(nothing, s) for s in SERVERS]
]
    rules = rule === nothing ? () : (rule,)
    f = federated(; rules, server)
    θ, st, history = rounds(f)
    @testset "it trains, and changes something" begin
        @test all(isfinite, θ)
        # Here FedExP's factor is 1, and EMA leaves the training as it is.
        @test θ != plain || FedFlux.personalises(f.rules) || rule in ("fedexp", "ema")
        # In odd rounds Mime tells the loss of one batch.
        @test rule == "mime" || last(history).train_loss < first(history).train_loss
        @test (last(history).personal_accuracy === nothing) ==
              !FedFlux.personalises(f.rules)
    end
    @testset "threads don't matter" begin
        @test rounds(f; threads = Threads.nthreads())[1] == θ
    end
    @testset "a copied state goes on with the same numbers" begin
        _, half, _ = rounds(f; n = 2)
        saved = deepcopy(half)
        @test rounds(f; n = 1, st = half)[1] == θ
        @test rounds(f; n = 1, st = saved)[1] == θ
    end
    @testset "both engines agree" begin
        fast = federated(; rules, server, trainer = :fast)
        @test rounds(fast)[1] ≈ θ rtol = 2e-3
    end
    @testset "a round without a finite update changes only its number" begin
        breaking =
            rule in ON_LABELS ? (; optimizer = Descent(NaN32)) :
            (; loss = (ŷ, y) -> CrossEntropy()(ŷ, y) * NaN32)
        broken = federated(; rules, server, breaking...)
        before = deepcopy(st)
        _, metrics = round!(broken, st, clients, 1:2)
        @test metrics.skipped !== nothing && st.round == before.round + 1
        @test st.θ == before.θ && isequal(st.shared, before.shared) &&
              isequal(st.private, before.private) && isequal(st.server, before.server)
    end
    @testset "all clients at once" begin
        @test all(isfinite, rounds(f; clients_per_round = 3)[1])
    end
end

@testset "FedAvg is recovered where the papers say so" begin
    near(a, b) = isapprox(a, b; rtol = 1e-4)
    @test rounds(federated(; rules = ("fedprox(mu=0)",)))[1] == plain
    @test rounds(federated(; server = "sgd(lr=1)"))[1] ≈ plain rtol = 1e-6
    @test near(rounds(federated(; server = "fedavgm(lr=1, momentum=0)"))[1], plain)
    @test rounds(federated(; rules = ("ditto(lam=0)",)))[1] == plain
    # q = 0: a weighted mean
    @test near(rounds(federated(; rules = ("qffl(q=0)",)))[1], plain)
    # SCAFFOLD's first round, while all control variates are zero
    @test rounds(federated(; rules = ("scaffold",)); n = 1)[1] ==
          rounds(federated(); n = 1)[1]
    # equal steps: FedNova; here a single one
    @test near(
        rounds(federated(; rules = ("fednova",), maxsteps = 1))[1],
        rounds(federated(; maxsteps = 1))[1]
    )
    # AFL's first round weighs all clients the same
    @test near(
        rounds(federated(; rules = ("afl",)); n = 1)[1],
        rounds(federated(; weights = :uniform); n = 1)[1]
    )
    # FedSGD: one full batch
    one = softmax_regression(6, 3; rng = Stream(1, :init))
    full(; kw...) = (
        f = Federated(one; optimizer = Descent(0.05f0), trainer = :zygote, seed = 4, kw...);
        rounds(f)[1]
    )
    @test near(full(rules = (FedSGD(),), batchsize = 16), full(batchsize = 240))
end

@testset "rules combine" begin
    θ, _, history = rounds(
        federated(;
            rules = ("fedprox(mu=0.01)", "scaffold", "ditto"),
            server = "fedadam(lr=0.02)"
        )
    )
    @test all(isfinite, θ) && last(history).personal_accuracy > 0
end

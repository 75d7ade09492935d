using FedFlux: Options, nearest, edits

check(; kw...) = Options(; kw...)

@testset "defaults are filled, values checked" begin
    o = check(rounds = 3, lr = 1, model = :mlp)
    @test o.rounds == 3 && o.lr === 1.0 && o.model == "mlp" && o.clients == 10 &&
          o.patience === nothing
    @test check(hidden = (3, 4)).hidden == [3, 4]
end

@testset "errors name the option, what was expected and what came" begin
    @test occursin(
        "unknown option 'batchsize'; did you mean 'batch_size'?",
        message(() -> check(batchsize = 3))
    )
    @test message(() -> check(rounds = 0)) == "rounds: expected at least 1, got 0"
    @test message(() -> check(lr = 0.0)) == "lr: expected more than 0.0, got 0.0"
    @test message(() -> check(rounds = 2.5)) ==
          "rounds: expected an integer, got 2.5"
    @test message(() -> check(rounds = true)) ==
          "rounds: expected an integer, got true"
    @test occursin(
        "expected one of sgd, momentum, adam, adamw, rmsprop, adagrad",
        message(() -> check(optimizer = "sdg"))
    )
    @test occursin("expected at most 1.0", message(() -> check(target_accuracy = 1.5)))
    @test occursin("expected a list of integers", message(() -> check(hidden = "3")))
    @test occursin("expected a finite number", message(() -> check(lr = NaN)))
end

@testset "defaults of digits" begin
    using FedFlux: settled
    o = check(dataset = "digits")
    @test (o.model, o.lr) == ("mlp", 0.3)
    @test check(dataset = :digits, optimizer = "adam").lr == 0.05
    @test check(dataset = "digits", lr = 0.1, model = "lenet").lr == 0.1
    @test check(dataset = "mnist").model == "case_study_cnn"
    @test check(dataset = FedFlux.digits()).lr == 0.05           # an object says what it is
    auto = check()
    @test auto.lr === auto.model === nothing
    @test settled(auto, "digits").model == "mlp" && settled(auto, "mnist").lr == 0.05
    @test settled(check(lr = 0.1), "digits").lr == 0.1
    @test check(optimizer = "adam").lr == 0.05
    @test !occursin("lr", repr(auto)) && occursin("lr = 0.3", repr(o))
end

@testset "edit distance" begin
    @test edits("kitten", "sitting") == 3 && edits("", "abc") == 3 &&
          edits("same", "same") == 0
end

@testset "every declared option is whole" begin
    for (name, spec) in FedFlux.DECLARED_OPTIONS
        @test haskey(FedFlux.TYPE_NAMES, rstrip(spec["type"], '?'))
        @test !isempty(spec["help"]) && !isempty(spec["group"])
        @test haskey(spec, "default") != endswith(spec["type"], '?')
    end
end

@testset "every name of an object has its class, or a method of construct" begin
    generic = which(FedFlux.construct, (Val{:rule}, Val{:none}))
    own(kind, name) =
        which(FedFlux.construct, (Val{Symbol(kind)}, Val{Symbol(name)})) !== generic
    for (kind, entries) in FedFlux.SPECS, (name, entry) in entries
        @test isdefined(FedFlux, Symbol(entry["class"])) || own(kind, name)
    end
end

@testset "specs" begin
    using FedFlux: parse_spec, parse_parameters, build
    @test build("aggregate", " mean ") === Mean()
    @test parse_parameters(
        "rule",
        "",
        "a=1, b = [2, 3.5],c=word, d=\"two words\", e=true"
    ) ==
          Dict("a" => 1, "b" => [2, 3.5], "c" => "word", "d" => "two words", "e" => true)
    @test occursin("did you mean 'mean'?", message(() -> check(aggregate = "maen")))
    @test occursin("it takes none", message(() -> build("partition", "iid(alpha=1)")))
    @test occursin(
        "gives a twice",
        message(() -> parse_parameters("rule", "x(a=1,a=2)", "a=1,a=2"))
    )
    for text in (
        "iid(",
        "iid)",
        "i id",
        "iid(alpha)",
        "iid(=1)",
        "",
        "iid(a=1 2)",
        "iid()x",
        "iid(a=[1)",
        "x"^2000
    )
        @test length(message(() -> build("partition", text))) > 20
    end
    for (kind, specs) in FedFlux.SPECS, (name, spec) in specs
        required = any(
            p -> !haskey(p, "default") && !endswith(p["type"], '?'),
            values(get(spec, "params", Dict()))
        )
        python = name == "ckks"      # which aggregation/ckks.jl builds
        required || python || @test build(kind, name) !== nothing
        @test !isempty(spec["help"]) && !isempty(spec["class"])
    end
end

small(; kw...) = FedFlux.run(; dataset = "digits", clients = 4, rounds = 1,
    model = "softmax_regression", lr = 0.3, kw...)

@testset "an option without effect is a warning that says why" begin
    for (options, words) in (
        (; momentum = 0.5) => "momentum has no effect: it needs optimizer=momentum",
        (; hidden = [3]) => "hidden has no effect: it needs model=mlp or rnn",
        (; deadline = 3.0) => "deadline has no effect: it needs faults=delay",
        (; overselect = 2.0) => "overselect has no effect: it needs clients_per_round",
        (;
            sampling = "weighted",
            rules = "fedbuff"
        ) => "sampling has no effect: rules=fedbuff does not use it",
        (;
            clients_per_round = 2,
            sampling = "poisson(rate=0.5)"
        ) => "clients_per_round has no effect: sampling=poisson",
        (;
            checkpoint_every = 2
        ) => "checkpoint_every has no effect: it needs checkpoint or resume",
        (; vocabulary = 7) => "vocabulary has no effect: it needs dataset=shakespeare:")
        r = @test_logs (:warn, Regex(words)) small(; options...)
        @test only(r.warnings) == r.warnings[1] && startswith(r.warnings[1], words)
    end
    @test isempty(small(momentum = 0.5, optimizer = "momentum").warnings)
    @test isempty(small(model = "mlp", hidden = [3]).warnings)
    @test isempty(small(deadline = 3.0, faults = "delay(mean=1)").warnings)
end

@testset "names that other libraries use" begin
    hinted(; kw...) = message(() -> FedFlux.Options(; kw...))
    @test occursin("did you mean 'lr'?", hinted(; learning_rate = 1))
    @test occursin("did you mean 'rounds'?", hinted(; num_server_rounds = 1))
    @test occursin("a run is FedAvg without a rule", hinted(; rules = "fedavg"))
    @test occursin("server=\"fedadam\"", hinted(; rules = "FedAdam"))
    @test occursin("did you mean 'mean'?", hinted(; aggregate = "fedavg"))
    @test occursin("did you mean 'softmax_regression'?", hinted(; model = "logreg"))
    @test occursin("did you mean 'cross_entropy'?", hinted(; loss = "nll"))
    named(text) = occursin(r"^\w+$", text)
    for (section, hints) in FedFlux.HINTS, (name, text) in hints
        known =
            section in ("option", "argument") ? keys(FedFlux.DECLARED_OPTIONS) :
            haskey(FedFlux.SPECS, section) ? keys(FedFlux.SPECS[section]) :
            get(get(FedFlux.DECLARED_OPTIONS, section, Dict()), "choices", nothing)
        section in ("argument", "class") && continue      # of Python; tested there
        @test name ∉ known && (!named(text) || text in known)
    end
end

@testset "values without their names" begin
    spec(kind, text) = FedFlux.parse_spec(kind, text)
    @test spec("partition", "dirichlet(0.1)") == spec("partition", "dirichlet(alpha=0.1)")
    @test spec("partition", "dirichlet(0.1, 5)") ==
          spec("partition", "dirichlet(0.1, min_size=5)") ==
          spec("partition", "dirichlet(alpha=0.1, min_size=5)")
    @test spec("schedule", "step(10, 0.5)") ==
          spec("schedule", "step(every=10, factor=0.5)")
    for (text, words) in ("dirichlet(0.1, 5, 6)" => "at '6'; expected parameter=value",
        "dirichlet(min_size=5, 0.1)" => "at '0.1'; expected parameter=value",
        "dirichlet(0.1, alpha=1)" => "gives alpha twice", "iid(3)" => "it takes none")
        @test occursin(words, message(() -> spec("partition", text)))
    end
end

struct NoAggregator end

@testset "an object of the wrong kind" begin
    @test occursin(
        "option aggregate holds a NoAggregator; expected a name or a " *
        "FedFlux.Aggregator", message(() -> small(aggregate = NoAggregator())))
    @test occursin("option rules holds a Mean", message(() -> small(rules = [Mean()])))
    @test message(() -> small(rules = [FedProx(-1)])) ==
          "rule fedprox, parameter mu: expected at least 0.0, got -1.0"
    @test occursin("partition dirichlet, parameter alpha: expected more than 0.0, got -1.0",
        message(() -> small(partition = Dirichlet(-1))))
    for (kind, specs) in FedFlux.SPECS, name in keys(specs)
        name in ("ckks", "cosine", "step", "warmup", "trace") && continue # need more
        @test FedFlux.check_settings(kind, FedFlux.build(kind, name)) === nothing
    end
    @test occursin("expected a name or something that can be called",
        message(() -> small(loss = NoAggregator())))
end

@testset "a number in a text takes no memory that data or model don't justify" begin
    x, y = rand(Xoshiro(1), Float32, 6, 40), rand(Xoshiro(2), 0:2, 40)
    clients = Clients(x, y, [1:10, 11:20, 21:30, 31:40])
    model = mlp(6, 3; hidden = (5,), rng = Stream(1, :init))
    # What a run makes of the object before its first round.
    use(kind, object) = nothing
    use(::Val{:partition}, p) =
        FedFlux.partition(FedFlux.for_data(p, repeat(1:4, 10)), x, y, 4, 0)
    function use(::Val{:rule}, r)
        f = Federated(model; rules = (r,), weights = :uniform, batchsize = 4)
        State(f, FedFlux.WorkerPool(f, clients; threads = 1))
    end
    function use(::Val{:aggregate}, a)
        f = Federated(model; aggregate = a, weights = :uniform, batchsize = 4)
        FedFlux.check_cohort(f, 4, 4)
    end
    attempt(kind, text) = message(() -> use(Val(Symbol(kind)), FedFlux.build(kind, text)))
    for (kind, known) in FedFlux.SPECS, (name, declared) in known,
        (p, d) in get(declared, "params", Dict())

        startswith(d["type"], "int") && name != "ckks" || continue
        text = "$name($p=$(get(d, "max", typemax(Int))))"
        others = filter(
            q ->
                first(q) != p && !haskey(last(q), "default") &&
                !endswith(last(q)["type"], "?"), declared["params"])
        isempty(others) || continue         # it needs another value, of which there is none
        attempt(kind, text)
        @test (@allocated attempt(kind, text)) < 2^29
    end
    sketch() = FedFlux.build("rule", "sketch(rows=99, cols=16777216)")
    @test occursin("a table of", message(sketch))
end

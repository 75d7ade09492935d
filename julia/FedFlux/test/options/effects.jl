# Options without effect, callbacks, names of other libraries, objects of the wrong kind.

small(; kw...) = FedFlux.run(; dataset = "digits", clients = 4, rounds = 1,
    model = "softmax_regression", lr = 0.3, kw...)

@testset "an option without effect is a warning that says why" begin
    for (options, words) in (
        (; momentum = 0.5) => "momentum has no effect: it needs optimizer=momentum",
        (; hidden = [3]) => "hidden has no effect: it needs model=mlp or rnn",
        (; deadline = 3.0) => "deadline has no effect: it needs faults",
        (; overselect = 2.0) => "overselect has no effect: it needs faults",
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

@testset "nobody trained, images too small, callbacks" begin
    @test occursin("nobody trained in any of the 1 rounds",
        message(() -> small(faults = "crash(p=1)")))
    @test occursin(
        "expected more than 0.0",
        message(() -> small(availability = "random(p=0)"))
    )
    @test occursin("cutout has size 999, and the images are 8×8",
        message(() -> small(augment = "cutout(size=999)")))
    @test occursin("out of sight", message(() -> small(augment = "shift(pixels=8)")))
    @test occursin("callback returned", message(() -> small(callback = r -> [1])))
    @test small(callback = Returns(nothing)).stopped == "rounds"
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

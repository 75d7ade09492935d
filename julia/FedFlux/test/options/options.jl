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
        "expected one of sgd, momentum, adam",
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

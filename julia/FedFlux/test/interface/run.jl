using FedFlux: JSON, _pyrun, fingerprint

digits_run(; kw...) = FedFlux.run(;
    dataset = "digits",
    rounds = 2,
    clients = 4,
    model = "softmax_regression",
    kw...
)

@testset "a run from its options" begin
    r = digits_run(lr = 0.5, rounds = 5)
    @test length(r.history) == 5 && r.stopped == "rounds" && r.dataset == "digits"
    @test FedFlux.accuracy(r) > 0.7
    @test r.names == ["layers.2.weight", "layers.2.bias"]
    @test r.params_sha256 == fingerprint(FedFlux.flatten(r.model))
    @test digits_run(lr = 0.5, rounds = 5).params_sha256 == r.params_sha256
    @test digits_run(lr = 0.5, rounds = 5, seed = 1).params_sha256 != r.params_sha256
    @test occursin("RunResult(5 rounds on digits", repr(r))
end

@testset "Julia objects as options" begin
    x, y = blobs(60)
    r = FedFlux.run(;
        dataset = Dataset(x, y, x, y),
        model = Chain(Dense(6 => 3)),
        loss = (ŷ, y) -> CrossEntropy()(ŷ, y),
        clients = 3,
        rounds = 3
    )
    @test r.trainer == "zygote" && length(r.history) == 3
    seen = Int[]
    FedFlux.run(;
        dataset = Dataset(x, y, nothing, nothing),
        model = Chain(Dense(6 => 3)),
        clients = 3,
        rounds = 3,
        callback = r -> (push!(seen, r.round); r.round == 2)
    )
    @test seen == [1, 2]
    init = [zeros(Float32, 3, 6), zeros(Float32, 3)]
    r = FedFlux.run(;
        dataset = Dataset(x, y, x, y),
        model = Chain(Dense(6 => 3)),
        clients = 3,
        rounds = 1,
        lr = 1e-9,
        init
    )
    @test all(p -> maximum(abs, p) < 1e-6, r.parameters)
end

@testset "losses and optimizers" begin
    x, y = blobs(60; classes = 2)
    binary = FedFlux.run(;
        dataset = Dataset(x, y, x, y),
        model = "mlp",
        hidden = [10],
        loss = "binary_cross_entropy",
        optimizer = "adam",
        lr = 0.01,
        clients = 3,
        rounds = 10
    )
    @test size(last(binary.parameters)) == (1,) && FedFlux.accuracy(binary) > 0.8
    target = 2 .* x[1, :] .- x[2, :] .+ 0.5f0      # a linear model's loss goes to zero
    squares = FedFlux.run(;
        dataset = Dataset(x, target, x, target),
        model = "softmax_regression",
        loss = "mse",
        optimizer = "momentum",
        lr = 0.005,
        batch_size = 4,
        clients = 3,
        rounds = 60
    )
    @test FedFlux.accuracy(squares) === nothing
    @test last(squares.history).test_loss < 0.05 * first(squares.history).test_loss
end

@testset "mistakes" begin
    x, y = blobs(30)
    @test occursin(
        "clients is 31",
        message(
            () -> FedFlux.run(; dataset = Dataset(x, y, x, y), model = "mlp", clients = 31)
        )
    )
    @test occursin(
        "labels go up to 2",
        message(
            () ->
                FedFlux.run(; dataset = Dataset(x, y, x, y), model = Chain(Dense(6 => 2)))
        )
    )
    @test occursin(
        "layer 1, Dense(7 => 3)",
        message(
            () ->
                FedFlux.run(; dataset = Dataset(x, y, x, y), model = Chain(Dense(7 => 3)))
        )
    )
    @test occursin("did you mean 'rounds", message(() -> FedFlux.run(; ronds = 3)))
    @test occursin("Python's NumPy", message(() -> FedFlux.run(; engine = "reference")))
    @test occursin(
        "clients_per_round is 20",
        message(() -> digits_run(clients_per_round = 20))
    )
end

@testset "the entry that Python calls" begin
    x, y = blobs(40)
    seen = String[]
    config = Dict("clients" => 2, "rounds" => 2, "model" => "mlp", "hidden" => [4])
    listen(kind, payload) = (push!(seen, kind); false)
    json, parameters = _pyrun(JSON.json(config), (x, y, x, y), nothing, nothing, listen)
    report = JSON.parse(json)
    @test filter(!=("tick"), seen) == ["start", "round", "round"]
    @test length(report["history"]) == 2 && report["names"][1] == "layers.2.weight"
    own = parameters[1:length(report["names"])]     # behind them a better model may stand
    @test report["params_sha256"] == fingerprint(reduce(vcat, vec.(own)))
    @test keys(report["history"][1]["client_accuracy"]) ==
          Set(["min", "q1", "median", "q3", "max"])
    json, parameters =
        _pyrun("{\"clients\": 0}", nothing, nothing, nothing, (kind, payload) -> false)
    @test JSON.parse(json)["error"] == "clients: expected at least 1, got 0" &&
          isempty(parameters)
    @test_throws ErrorException _pyrun(
        "{\"dataset\": \"digits\", \"model\": \"mlp\"}",
        nothing,
        nothing,
        nothing,
        (kind, payload) -> error("mine")
    )
end

@testset "examples/fed_avg.jl, in plain loops, gives what a run gives" begin
    example = Module()
    path = joinpath(pkgdir(FedFlux), "..", "..", "examples", "fed_avg.jl")
    Core.eval(example, :(using FedFlux: FedFlux; using FedFlux.Flux: Flux))
    code = replace(read(path, String), r"^using .*$"m => "")
    Core.eval(example, :(using FedFlux, Random))
    Core.eval(example, :(using FedFlux.Flux: Descent))
    Core.eval(example, :(using FedFlux: IID, digits, indices, partition))
    Base.include_string(example, replace(code, r"^println.*$"m => ""))
    r = FedFlux.run(dataset = "digits", clients = 10, clients_per_round = 5, rounds = 10,
        model = "mlp", hidden = [50], local_epochs = 2, batch_size = 10, lr = 0.1)
    @test FedFlux.flatten(example.model) ≈ FedFlux.flatten(r.model) rtol = 1e-4
    @test example.accuracy > 0.9
end

@testset "progress, for loggers that know ProgressLogging's protocol" begin
    logs, _ = Test.collect_test_logs(min_level = FedFlux.PROGRESS_LEVEL) do
        digits_run(rounds = 2, callback = r -> r.round == 2)
    end
    progress = filter(l -> haskey(l.kwargs, :progress), logs)
    @test [l.kwargs[:progress] for l in progress] == [0.0, 0.5, 1.0, "done"]
    @test allunique(l.message for l in progress[2:3])
    @test occursin("round 1: train loss", progress[2].message)
    @test length(unique(l.id for l in progress)) == 1
    @test all(l -> l.level == FedFlux.PROGRESS_LEVEL, progress)
    stopped, _ = Test.collect_test_logs(min_level = FedFlux.PROGRESS_LEVEL) do
        @test_throws ErrorException digits_run(callback = r -> error("stop"))
    end
    @test last(stopped).kwargs[:progress] == "done"              # the bar goes away
    quiet, _ = Test.collect_test_logs(() -> digits_run(rounds = 1))
    @test isempty(quiet)                                         # not of Info or above
end

@testset "a run says first that the fast engine doesn't take its model" begin
    model = Chain(Flux.flatten, Dense(64 => 10), x -> 2 .* x)
    stop(r) = error("after the first round")
    told(; kw...) = first(
        Test.collect_test_logs() do
            @test_throws ErrorException FedFlux.run(; dataset = "digits", model = model,
                clients = 4,
                local_steps = 1, callback = stop, kw...)
        end
    )
    text = only(told()).message
    @test occursin("compiles for about a minute", text) && occursin("layer 3, ", text)
    @test isempty(told(trainer = "zygote"))                      # as it was asked for
end

@testset "nobody trained, images too small, callbacks" begin
    small(; kw...) = FedFlux.run(; dataset = "digits", clients = 4, rounds = 1,
        model = "softmax_regression", lr = 0.3, kw...)
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

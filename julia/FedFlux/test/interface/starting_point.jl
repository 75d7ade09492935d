# What a run begins with: parameters by name; a result, to go on from.

small(; kw...) =
    FedFlux.run(; dataset = "digits", clients = 4, model = "mlp", hidden = [8],
        lr = 0.3, kw...)

@testset "initial parameters by name, in any order" begin
    x, y = blobs(60)
    data = Dataset(x, y, x, y)
    run(; kw...) = FedFlux.run(; dataset = data, model = "mlp", hidden = [5], clients = 3,
        rounds = 1, lr = 1e-9, kw...)
    first_run = run(seed = 3)
    named = Dict(zip(first_run.names, first_run.parameters))
    again = run(init = named)
    @test all(zip(again.parameters, first_run.parameters)) do (a, b)
        isapprox(a, b; atol = 1e-6)
    end
    @test run(init = first_run).params_sha256 == again.params_sha256
    @test run(init = first_run.parameters).params_sha256 == again.params_sha256
    delete!(named, "layers.2.bias")
    named["layers.9.bias"] = [1.0f0]
    text = message(() -> run(init = named))
    @test occursin("init: layers.2.bias missing; the model has no layers.9.bias", text)
    named = Dict(zip(first_run.names, map(a -> permutedims(hcat(a)), first_run.parameters)))
    @test occursin("init: layers.2.weight has size", message(() -> run(init = named)))
end

@testset "initial statistics: a result begins where it ended, in memory or in a file" begin
    d = FedFlux.digits()
    x, xt = Float32.(d.x), Float32.(d.xtest)
    data = Dataset(x .+ 3, d.y, xt .+ 3, d.ytest)
    model() = Chain(Flux.flatten, BatchNorm(64), Dense(64 => 10))
    run(; kw...) = FedFlux.run(; dataset = data, clients = 3, model = model(), lr = 0.1,
        trainer = "zygote", kw...)
    r = run(rounds = 2)
    stats = FedFlux.named_statistics(r.model)
    @test first.(stats) == ["layers.2.μ", "layers.2.σ²"]
    @test last(stats[1]) === r.model[2].μ && maximum(abs, r.model[2].μ) > 1
    saved = FedFlux.load_result(FedFlux.save(joinpath(mktempdir(), "r"), r))
    @test Dict(saved.statistics) == Dict(stats)
    named = FedFlux.arrays_by_name(r)
    for init in (r, saved, named)
        again = run(; init, rounds = 1, lr = 1e-9, local_steps = 1)
        start = FedFlux.with_initial(model(), init)
        @test FedFlux.flatten(start) == FedFlux.flatten(r.model)
        @test FedFlux.named_statistics(start) == stats
        @test accuracy(again) > accuracy(r) - 0.02
    end
    # Without them they begin as the model's own do.
    only_parameters = Dict(zip(r.names, r.parameters))
    @test iszero(FedFlux.with_initial(model(), only_parameters)[2].μ)
    named["layers.2.μ"] = zeros(Float32, 3)
    @test occursin("init: layers.2.μ has size (3,)", message(() -> run(init = named)))
    # A file whose statistics were changed is damaged.
    others = ["layers.2.μ" => zeros(Float32, 64), "layers.2.σ²" => r.model[2].σ²]
    bytes = FedFlux.write_tensors([r.names .=> r.parameters; others],
        Dict("fedflux" => FedFlux.JSON.json(saved.facts)))
    path = joinpath(mktempdir(), "changed")
    write(path, bytes)
    @test occursin("its statistics don't have", message(() -> FedFlux.load_result(path)))
    # A personal model brings its own.
    own = run(; rules = "fedbn", rounds = 2)
    p = personal(own, 1)
    @test FedFlux.with_initial(model(), p)[2].μ == p.model[2].μ != own.model[2].μ
end

@testset "a result continues as if it had never stopped" begin
    settings = (
        (; clients_per_round = 2, rules = "scaffold", server = "fedadam(lr=0.01)"),
        (; rules = [FedProx(mu = 0.1)],
            model = Chain(Flux.flatten, Dense(64 => 8), BatchNorm(8), Dense(8 => 10))))
    for s in settings
        whole = small(; rounds = 4, s...)
        half = small(; rounds = 2, s...)
        sha, before = half.params_sha256, length(half.history)
        rest = FedFlux.run(; resume = half, rounds = 4)
        @test rest.params_sha256 == whole.params_sha256 && rest.resumed == 2
        losses(r) = [(x.round, x.train_loss, x.test_loss) for x in r.history]
        @test losses(rest) == losses(whole)
        # The first result is as it was, and can be continued again.
        @test half.params_sha256 == sha && length(half.history) == before
        @test FedFlux.run(; resume = half, rounds = 4).params_sha256 == whole.params_sha256
    end
end

@testset "what can't continue" begin
    half = small(rounds = 1)
    @test occursin("option lr is 0.1, and the run in the result has 0.3",
        message(() -> FedFlux.run(; resume = half, lr = 0.1, rounds = 2)))
    @test occursin("init and a result to resume were both given",
        message(() -> FedFlux.run(; resume = half, init = half, rounds = 2)))
    done = @test_logs (:warn, r"no round is left") FedFlux.run(; resume = half)
    @test done.params_sha256 == half.params_sha256 && length(done.warnings) == 1
end

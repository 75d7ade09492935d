# Plain functions in the place of aggregators, cohorts, steps and partitions.
using FedFlux: FunctionAggregate, FunctionSampling, Listed, combine_updates, in_calling_task

const SMALL = (; dataset = "digits", model = "softmax_regression", rounds = 3, lr = 0.3,
    clients = 7)
run(; options...) = FedFlux.run(; SMALL..., options...)
fails(text; options...) = @test_throws text run(; options...)

updates = [Update(; delta = Float32[k, 1]) for k in (1, 2, 100)]

median_by_hand(X, weights) = [sort(row)[(end+1)÷2] for row in eachrow(X)]

@testset "an aggregator" begin
    @test combine_updates(FunctionAggregate(median_by_hand), updates).delta == [2, 1]
    result = run(aggregate = median_by_hand)
    @test result.params_sha256 == run(aggregate = "median").params_sha256
    @test FedFlux.result_facts(result)["objects"]["aggregate"] == "median_by_hand"
    @test run(aggregate = median_by_hand, threads = 1).params_sha256 == result.params_sha256
    fails("median_by_hand needs at least 8 updates per round, and clients_per_round is 7";
        aggregate = FunctionAggregate(median_by_hand; min_updates = 8))
    fails("aggregate function in round 1: expected a vector of 650 numbers, got 2-element";
        aggregate = (X, weights) -> [1, 2])
    fails("Scaffold and aggregate median_by_hand don't go together"; rules = "scaffold",
        aggregate = median_by_hand)
end

@testset "statistics of BatchNorm" begin
    with_stats = [Update(; delta = Float32[k], stats = Float32[k, -k]) for k in (1, 2, 90)]
    first_one(X, weights) = X[:, 1]
    @test combine_updates(FunctionAggregate(first_one), with_stats).stats == [2, -2]
    own = FunctionAggregate(first_one; statistics = (S, weights) -> S[:, 3])
    @test combine_updates(own, with_stats).stats == [90, -90]
end

@testset "cohorts and availability" begin
    odd(round, clients, rng) = filter(isodd, clients)
    one(round, clients, rng) = [rand(rng, clients)]
    result = run(sampling = one, availability = odd)
    cohorts = [r.cohort for r in result.history]
    @test all(c -> length(c) == 1 && isodd(only(c)), cohorts)
    @test run(sampling = one, availability = odd).params_sha256 == result.params_sha256
    @test result.options.sampling === one
    fails(
        "sampling function in round 1: expected a list of some of the clients that it " *
        "was given, got 8, which is none of these"; sampling = (r, c, rng) -> [1, 8])
    fails("got 2 twice"; availability = (r, c, rng) -> [2, 1, 2])
    fails("given, got nothing"; sampling = (r, c, rng) -> nothing)
    fails("ClientDP can't account for cohorts drawn by FunctionSampling"; sampling = one,
        rules = "client_dp", weights = "uniform")
end

@testset "the server's step" begin
    half(θ, mean, state, ctx) = (0.5f0 .* mean, something(state, 0) + 1)
    result = run(server = half)
    @test result.params_sha256 == run(server = "sgd(lr=0.5)").params_sha256
    @test result.state.server == 3
    fails("server function in round 1: expected a vector of 650 numbers, got nothing";
        server = (θ, mean, state, ctx) -> (nothing, nothing))
end

@testset "metrics" begin
    hits(y, ŷ) = count(y .== ŷ) / length(y)
    surprise(y, p) = -sum(log(p[label+1, i]) for (i, label) in enumerate(y)) / length(y)
    metrics = (; hits, surprise = FedFlux.OfProbabilities(surprise))
    result = run(; metrics, eval_every = 3, monitor = "hits")
    @test result.params_sha256 == run().params_sha256
    @test result.history[1].metrics == (hits = nothing, surprise = nothing)
    last_one = last(result.history)
    @test last_one.metrics.hits ≈ last_one.accuracy
    @test last_one.metrics.surprise ≈ last_one.test_loss rtol = 1e-5
    @test result.best.value == last_one.metric == last_one.metrics.hits
    @test FedFlux.history_table(result)[3].metrics_hits == last_one.metric
    @test FedFlux.result_facts(result)["objects"]["metrics"] == ["hits", "surprise"]
    # A Dict, pairs, and names of what there is.
    of(metrics) = last(run(; metrics).history).metrics
    @test of(Dict("hits" => hits)) == of(["hits" => hits]) == (; last_one.metrics.hits)
    @test of(["hits" => hits, "area" => "auc"]).area == of(["auc"]).auc
    # A record without metrics is as it was before there were any.
    plain = FedFlux.ordered(last(run().history))
    @test keys(plain) == Base.front(fieldnames(Record)) && last(keys(plain)) == :metric

    # NaN is recorded, and never ends a run; the best of two numbers is what decides.
    figures = Ref(0)
    falling(y, ŷ) = (0.5, NaN, 0.9, 0.1)[figures[]+=1]
    again(; options...) = (figures[] = 0; run(; metrics = (; falling), options...))
    r = again(; rounds = 4, target_metric = "falling>=0.8", monitor = "falling")
    @test (r.stopped, length(r.history), r.best.round) == ("target_metric", 3, 3)
    @test isnan(r.history[2].metrics.falling)
    @test occursin("\"NaN\"", FedFlux.JSON.json(FedFlux.ordered(r.history[2])))
    @test again(; rounds = 4, target_metric = "falling<=0.2").stopped == "target_metric"
    mktempdir() do folder
        again(; rounds = 2, checkpoint = folder)
        figures[] = 2
        rest = run(; metrics = (; falling), resume = folder, rounds = 3)
        @test isequal([r.metrics.falling for r in rest.history], [0.5, NaN, 0.9])
        fails("metrics"; resume = folder, rounds = 4)
    end

    fails(
        "metric m in round 1: expected a number, got 360-element";
        metrics = (;
            m = (y, ŷ) -> y)
    )
    fails(
        "metric m in round 1: expected a number, got nothing";
        metrics = (;
            m = (y, ŷ) -> nothing)
    )
    fails("the history doesn't have yet, got \"accuracy\""; metrics = (; accuracy = hits))
    fails(
        "expected a function of the targets and the predictions for m, got 3";
        metrics =
        (; m = 3)
    )
    fails("metrics: expected one of f1, auc"; metrics = ["f2"])
    fails(
        "monitor: expected one of loss, accuracy, f1, auc, perplexity, r2, mae, mse, hits";
        metrics = (; hits), monitor = "misses")
    fails("there is no metric mine; expected one of loss, accuracy, hits";
        metrics =
        (; hits), target_metric = "mine>=1")
    fails("expected a metric and its value, as in f1>=0.9"; target_metric = "f1=0.9")
    unlucky(y, ŷ) = throw(DomainError(13))
    @test_logs (:error, "metric m failed in round 1") match_mode = :any begin
        @test_throws DomainError run(; metrics = (; m = unlucky))
    end
end

@testset "a partition that is given" begin
    parts = [1:2:1437, 2:2:1437]
    result = run(partition = Listed(parts; names = ["north", "south"]))
    @test [row.name for row in result.clients] == ["north", "south"]
    @test [row.samples for row in result.clients] == [719, 718]
    deal(y, clients, rng) = parts
    @test run(partition = deal, clients = 2).params_sha256 == result.params_sha256
    fails("client 2 holds sample 1438"; partition = Listed([[1], [1438]]))
end

@testset "beside secure sums and privacy" begin
    for aggregate in ((median_by_hand, "secure"), ["ckks", median_by_hand])
        fails("the server knows nothing but the sum of the updates"; aggregate)
    end
    private = (; weights = "uniform", clients_per_round = 5, aggregate = median_by_hand)
    fails("the noise is meant for the sum of all updates"; private..., rules = "client_dp",
        sampling = "poisson")
    fails("rule DPFTRL and aggregate median_by_hand don't go together"; private...,
        rules = "dp_ftrl", sampling = "round_robin")
    # A sampling may ask everybody, so the noise is for as many.
    all_of_them(round, clients, rng) = clients
    noisy = (; weights = "uniform", aggregate = "secure(noise=4, clip=0.5)")
    ε(; options...) = run(; noisy..., options...).history[end].epsilon
    @test ε(sampling = all_of_them, clients_per_round = 5) == ε()
    @test last(run(; noisy..., metrics = (; n = (y, ŷ) -> length(y))).history).metrics.n ==
          360
end

# What a hook in Python needs: only one thread may call it.
@testset "work that only the calling task may do" begin
    here = current_task()
    control, answers = FedFlux.Control(), zeros(Int, 4)
    calls = Task[]
    FedFlux.in_parallel(4, control, nothing) do i
        for k = 1:50
            answers[i] += in_calling_task(() -> (push!(calls, current_task()); k))
        end
    end
    @test answers == fill(1275, 4) && all(==(here), calls) && length(calls) == 200
    @test in_calling_task(() -> current_task() === here)
    # An exception of one ends all, those too that wait for an answer.
    done = Threads.Atomic{Int}(0)
    @test_throws "the third" FedFlux.in_parallel(3, control, nothing) do i
        try
            in_calling_task(() -> i == 3 ? error("the third") : sleep(0.01))
            in_calling_task(() -> sleep(0.01))
        finally
            Threads.atomic_add!(done, 1)
        end
    end
    @test done[] == 3 && !control.stop
end

@testset "a function of Python's stays where Python is" begin
    own = FunctionAggregate(FedFlux.PythonFunction(error); name = "theirs")
    f = Federated(softmax_regression(4, 2); aggregate = own, rules = (FedProx(),))
    there = FedFlux.deserialize(IOBuffer(FedFlux.packed(f)))
    @test there.aggregate.f === nothing && there.aggregate.name == "theirs"
    @test there.rules == f.rules
end

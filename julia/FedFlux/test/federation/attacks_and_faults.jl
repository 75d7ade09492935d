# Who attacks, who fails, and what the server rejects.
include("../setup/ten_clients.jl")
using FedFlux: ALIE, Attackers, Backdoor, Broken, Crash, WorkerPool, Delay, DropOut, Faults,
    IPM, LabelFlip, Message, Moments, NoiseAttack, Scaling, SignFlip,
    cohort_size, deviation, engine, fingerprint, flatten, forge, global_model, hostile,
    simulate_faults, normal_cdf, normal_quantile, alie_z, Options, poisoned, rejection,
    send, Validator, MinMax, MinSum, Fang

x, y = blobs(240)
clients = Clients(x, y, [k:(k+23) for k = 1:24:240])
fresh(; kw...) = Federated(
    softmax_regression(6, 3; rng = Stream(1, :init));
    optimizer = Descent(0.1f0),
    batchsize = 8,
    seed = 4,
    kw...
)

function fitted(f; rounds = 3, threads = 1, kw...)
    pool = WorkerPool(f, clients.x; threads)
    warnings = String[]
    st, history, _ = fit!(
        f,
        State(f, engine(pool)),
        clients;
        rounds,
        test = (x, y),
        pool,
        warn = w -> push!(warnings, w),
        kw...
    )
    return st.θ, history, warnings
end

message_of(u; client = 1, round = 1, weight = 1.0) = Message(client, round, weight, u)

@testset "validation" begin
    st = State(fresh(), ZygoteEngine(fresh().model, CrossEntropy()))
    n = length(st.θ)
    good = Update(; delta = ones(Float32, n))
    validator = Validator(st, [1, 2, 3], 100)
    why(u = good; kw...) = rejection(validator, message_of(u; kw...))
    @test why() === nothing
    @test why() == "was sent twice"
    @test why(; client = 4) == "was not asked in this round"
    @test why(; client = 2, round = 0) == "is of round 0, not 1"
    for weight in (NaN, -1.0, Inf, 101.0)
        @test occursin("claims the weight", why(; client = 2, weight))
    end
    @test occursin(
        "has 3 values in delta",
        why(Update(; delta = ones(Float32, 3)); client = 2)
    )
    @test why(Update(; gradient = good.delta); client = 2) == "has no vector delta"
    @test occursin("and the others", why(Update(good; more = good.delta); client = 2))
    @test occursin("no Float32 vector", why(Update(; delta = ones(n)); client = 2))
    @test occursin("no Float32 vector", why(Update(; delta = nothing); client = 2))
    @test why(good.delta; client = 2) == "has no vector delta"
    for bad in (NaN32, Inf32, -Inf32), at in (1, n)
        u = copy(good.delta)
        u[at] = bad
        @test why(Update(; delta = u); client = 2) == "holds NaN or Inf"
    end
    @test why(Update(; delta = fill(floatmax(Float32), n)); client = 2) === nothing
    @test why(; client = 3, weight = 0.0) === nothing
end

@testset "bad updates are rejected with client and reason; the rest makes the round" begin
    without, history, _ =
        fitted(fresh(; attack = Attackers(SignFlip(); clients = [3])); rounds = 1)
    others = Clients(x, y, [collect(FedFlux.indices(clients, k)) for k = 1:10])
    for (what, words) in (("nan", "NaN"), ("inf", "Inf"), ("shape", "values in delta"),
        ("slots", "no vector delta"), ("stale", "is of round"),
        ("twice", "twice"), ("weight", "claims the weight"))
        θ, history, warnings =
            fitted(fresh(; attack = Attackers(Broken(what); clients = [3])))
        @test all(
            r ->
                length(r.rejected) == 1 && r.rejected[1].client == 3 &&
                occursin(words, r.rejected[1].reason),
            history
        )
        @test all(r -> r.clients == (what == "twice" ? 10 : 9), history)
        @test all(isfinite, θ)
        @test length(warnings) == 1 && occursin("client 3 is rejected", warnings[1])
        @test history[end].accuracy > 0.8
    end
end

@testset "no valid update leaves all as it was" begin
    f = fresh(; attack = Attackers(Broken("nan"); count = 10))
    θ, history, warnings = fitted(f)
    @test θ == flatten(f.model) && length(history) == 3
    @test all(
        r -> occursin("every update was rejected", r.skipped) && r.clients == 0,
        history
    )
    @test any(w -> occursin("smaller learning rate", w), warnings)
end

@testset "who is hostile follows from the seed" begin
    @test length(hostile(Attackers(SignFlip(); count = 3), 1, 10)) == 3
    @test hostile(Attackers(SignFlip(); count = 3), 1, 100) !=
          hostile(Attackers(SignFlip(); count = 3), 2, 100)
    @test hostile(Attackers(SignFlip(); clients = [5, 2, 5]), 1, 10) == [2, 5]
    @test occursin("neither was given", message(() -> Attackers(SignFlip())))
    @test occursin(
        "attacker 11 is none",
        message(() -> hostile(Attackers(SignFlip(); clients = [11]), 1, 10))
    )
    @test occursin(
        "attackers is 11",
        message(() -> hostile(Attackers(SignFlip(); count = 11), 1, 10))
    )
end

@testset "what attackers send" begin
    m = message_of(Update(; delta = Float32[1, 2], stats = Float32[4]))
    ctx = (; seed = 1, round = 1, client = 1)
    @test map(collect, FedFlux.parts(only(send(SignFlip(10.0), m, ctx)).update)) ==
          ([-10, -20], [-40])
    @test only(send(Scaling(3.0), m, ctx)).update.delta == [3, 6]
    noisy(round) = only(
        send(
            NoiseAttack(0.5),
            message_of(Update(; delta = zeros(Float32, 10_000))),
            (; ctx..., round)
        )
    ).update.delta
    @test std(noisy(1)) ≈ 0.5 rtol = 0.05
    @test noisy(1) == noisy(1) != noisy(2)
    # ALIE and IPM by their equations; Φ⁻¹ from tables
    @test normal_quantile(0.975) ≈ 1.959963984540054 atol = 1e-9
    @test normal_quantile(0.5) ≈ 0 atol = 1e-9
    @test normal_cdf(1.0) ≈ 0.8413447460685429 atol = 1e-12
    # The paper's example: s = 2.
    @test alie_z(50, 24) ≈ normal_quantile((50 - 24 - 2) / (50 - 24))
    X = randn(Xoshiro(1), Float32, 5, 8)
    moments = Moments()
    foreach(i -> FedFlux.observe!(moments, Update(; delta = X[:, i])), 1:8)
    @test moments.mean.delta ≈ vec(mean(X; dims = 2))
    @test deviation(moments).delta ≈ vec(std(X; dims = 2, corrected = false))
    @test forge(IPM(0.5), moments.mean, deviation(moments), 10, 2).delta ≈
          -0.5 .* vec(mean(X; dims = 2))
    @test forge(ALIE(1.5), moments.mean, deviation(moments), 10, 2).delta ≈
          vec(mean(X; dims = 2)) .+ 1.5 .* vec(std(X; dims = 2, corrected = false))
end

@testset "attacks on the data touch the attackers' samples alone" begin
    f = fresh(; attack = Attackers(LabelFlip(); clients = [2, 7]))
    data = poisoned(f.attack, f, clients)
    mine = [FedFlux.indices(clients, 2); FedFlux.indices(clients, 7)]
    @test data.y[mine] == 2 .- y[mine] &&
          data.y[setdiff(1:240, mine)] == y[setdiff(1:240, mine)] && clients.y == y
    shared = Clients(x, y, [1:100, 100:240])
    g = fresh(; attack = Attackers(LabelFlip(); clients = [1]))
    @test occursin("holds sample 100", message(() -> poisoned(g.attack, g, shared)))
    images = Clients(zeros(Float32, 8, 8, 1, 40), repeat(0:3, 10), [1:20, 21:40])
    b = Federated(
        mlp(64, 4);
        attack = Attackers(Backdoor(; target = 3, fraction = 0.5); clients = [1])
    )
    stamped = poisoned(b.attack, b, images)
    marked = [all(==(1), stamped.x[1:3, 1:3, 1, i]) for i = 1:40]
    @test 4 <= count(marked[1:20]) <= 16 && !any(marked[21:40]) &&
          all(stamped.y[findall(marked)] .== 3)
    @test sum(stamped.x) == 9count(marked)
end

@testset "a backdoor's square is as white as a white pixel of the run" begin
    images = rand(Xoshiro(1), Float32, 6, 6, 2, 40) ./ 2
    images[6, 6, :, :] .= 1                                   # white, in the other corner
    images[:, :, 2, :] .*= 0.5f0
    images[6, 6, :, :] .= 1
    d = Dataset(images, repeat(0:3, 10), images, repeat(0:3, 10))
    for o in ((;), (; mean = 0.3, std = 0.2), (; mean = 0.3), (; normalise = "federated"))
        options = Options(; model = "mlp", hidden = [4], clients = 2, attackers = 1,
            attack = "backdoor(fraction=1, size=2)", o...)
        data, options = FedFlux.prepare_data(options; data = d)
        (; clients, outputs, input) = FedFlux.prepare_clients(options, data)
        f = FedFlux.prepare_federated(options, data, outputs, nothing, input)
        bad = only(hostile(f.attack, f.seed, 2))
        stamped = poisoned(f.attack, f, clients).x
        for i in FedFlux.indices(clients, bad), c = 1:2
            @test all(==(stamped[6, 6, c, i]), stamped[1:2, 1:2, c, i])
        end
    end
    marked = FedFlux.stamp!(zeros(Float32, 4, 4, 2, 3), 1, reshape([2, 3], 1, 1, 2))
    @test marked[1, 1, :, 3] == [2, 3] && sum(marked) == 15
end

@testset "omniscient attackers: the mean falls where the median stays" begin
    for attack in (IPM(20.0), ALIE(), SignFlip(10.0))
        f(a) = fresh(; attack = Attackers(attack; count = 3), aggregate = a)
        one, history, _ = fitted(f(Median()); rounds = 6)
        @test history[end].accuracy > 0.85 && history[end].clients == 10
        Threads.nthreads() > 1 &&
            @test fitted(f(Median()); rounds = 6, threads = 2)[1] == one
        attack isa ALIE || @test fitted(f(Mean()); rounds = 6)[2][end].accuracy < 0.5
    end
end

@testset "who fails follows from seed, round and client" begin
    faults = Faults((Crash(0.3), Delay(5.0)); deadline = 8)
    present, dropped, seconds = simulate_faults(faults, 1, 1, 1:50, 50)
    @test sort([present; [d.client for d in dropped]]) == 1:50 && !isempty(present) &&
          seconds == 8
    @test simulate_faults(faults, 1, 1, 1:50, 50) == (present, dropped, seconds) !=
          simulate_faults(faults, 1, 2, 1:50, 50)
    alone, _, _ = simulate_faults(faults, 1, 1, [first(present)], 1)
    # Whoever else is there.
    @test alone == [first(present)]
    rate(fault; kw...) = mean(
        length(simulate_faults(Faults((fault,); kw...), 1, r, 1:100, 100)[2]) / 100 for
        r = 1:100
    )
    @test rate(Crash(0.2)) ≈ 0.2 atol = 0.02
    @test rate(DropOut(0.2)) ≈ 0.2 atol = 0.02
    # Exponential.
    @test rate(Delay(2.0); deadline = 3.0) ≈ exp(-1.5) atol = 0.02
    @test rate(Delay(2.0, :uniform); deadline = 3.0) ≈ 0.25 atol = 0.02
    @test rate(Delay(2.0, :constant); deadline = 1.9) == 1
    present, dropped, seconds =
        simulate_faults(Faults((Delay(1.0),); overselect = 1.5), 1, 1, 1:15, 10)
    @test length(present) == 10 &&
          count(d -> occursin("not needed", d.reason), dropped) == 5 && 0 < seconds < 10
    @test cohort_size(Faults(; overselect = 1.3), 10, 100) == 13 &&
          cohort_size(Faults(; overselect = 3.0), 10, 12) == 12
    @test simulate_faults(Faults(), 1, 1, 1:3, 3) == (1:3, [], nothing)
end

@testset "rounds with failing clients go on, and the history has them" begin
    faults = Faults(
        (Crash(0.2), DropOut(0.2), Delay(2.0));
        deadline = 4.0,
        overselect = 1.4,
        min_updates = 2
    )
    θ, history, _ = fitted(fresh(; faults); rounds = 6, clients_per_round = 5)
    @test all(r -> r.clients + length(r.dropped) == 7 && r.clients <= 5, history)
    @test Set(first(split(l.reason, [' ', ':'])) for r in history for l in r.dropped) ⊆
          Set(["crashed", "dropped", "late", "not"])
    @test history[end].accuracy > 0.7
    Threads.nthreads() > 1 &&
        @test fitted(fresh(; faults); rounds = 6, clients_per_round = 5, threads = 2)[1] ==
              θ
    f = fresh(; faults = Faults((Crash(1.0),)))
    @test fitted(f)[1] == flatten(f.model)
    few = fresh(; faults = Faults((Crash(0.5),); min_updates = 11))
    @test fitted(few)[1] == flatten(few.model) &&
          all(r -> occursin("11 are needed", r.skipped), fitted(few)[2])
end

struct Fragile <: Rule end
FedFlux.client!(::Fragile, s, u, ctx) =
    ctx.client == 2 && ctx.round == 2 ? error("client 2 broke") : (s.private, u)

@testset "an exception in one client's rule costs that client's update" begin
    θ, history, warnings = fitted(fresh(; rules = (Fragile(),)))
    @test history[2].dropped == [(; client = 2, reason = "failed: client 2 broke")] &&
          history[2].clients == 9
    @test isempty(history[1].dropped) && isempty(history[3].dropped) &&
          history[3].clients == 10
    @test any(w -> occursin("client 2 is left out", w), warnings)
end

@testset "run: options" begin
    run10(; rounds = 4, kw...) = FedFlux.run(;
        dataset = "digits",
        model = "softmax_regression",
        clients = 10,
        lr = 0.5,
        rounds,
        kw...
    )
    hostile10(; kw...) = run10(; attack = "sign_flip(scale=10)", attackers = 2, kw...)
    @test FedFlux.accuracy(hostile10()) < 0.5 < 0.75 <
          FedFlux.accuracy(hostile10(aggregate = "median"))
    @test FedFlux.accuracy(hostile10(aggregate = "fltrust(root=200)", rounds = 8)) > 0.75
    r = run10(;
        faults = ["crash(p=0.3)", "delay(mean=2)"],
        deadline = 5,
        overselect = 1.5,
        clients_per_round = 4,
        min_updates = 2
    )
    @test any(h -> !isempty(h.dropped), r.history) &&
          r.history[1].seconds_simulated isa Float64
    @test occursin(
        "Krum needs at least 5 updates",
        message(() -> run10(clients_per_round = 4, aggregate = "krum"))
    )
    @test occursin("no attack", message(() -> run10(attackers = 2)))
    @test occursin("needs attackers", message(() -> run10(attack = "ipm")))
end

@testset "a resume goes on with attackers, faults and an aggregator that remembers" begin
    o = (; dataset = "digits", model = "softmax_regression", clients = 10, lr = 0.5,
        aggregate = "centered_clipping(tau=1.0)", attack = "noise(std=0.1)",
        attackers = 2, faults = ["crash(p=0.2)"])
    mktempdir() do dir
        whole = FedFlux.run(; o..., rounds = 4)
        FedFlux.run(; o..., rounds = 2, checkpoint = dir)
        r = FedFlux.run(; resume = dir, rounds = 4)
        @test r.params_sha256 == whole.params_sha256
        @test [h.dropped for h in r.history] == [h.dropped for h in whole.history]
    end
end

@testset "over-selection drops clients by a draw, not by their number" begin
    counts = zeros(Int, 40)
    for round = 1:300
        responding, _, _ = simulate_faults(Faults(; overselect = 2.0), 1, round, 1:40, 20)
        counts[responding] .+= 1
    end
    @test all(n -> abs(n - 150) < 5 * sqrt(75), counts)      # binomial, five deviations
end

@testset "a hostile first update decides nothing" begin
    attack = FedFlux.Attackers(FedFlux.Broken("slots"); clients = [1])
    _, history = fit_ten(ten_federated(; attack))
    @test all(r -> r.clients == 9 && length(r.rejected) == 1, history)
end

@testset "$attack goes as far as it stays hidden" for attack in
                                                      (MinMax(), MinMax(:mean), MinSum(),
    MinSum(:sign))
    rng = Xoshiro(2)
    updates = [
        Update(; delta = randn(rng, Float32, 6) .+ 1, extra = randn(rng, Float32, 2))
        for _ = 1:5
    ]
    moments = Moments()
    foreach(u -> FedFlux.observe!(moments, u), updates)
    honest = (; updates, moments.mean, deviation = deviation(moments))
    all_of(u) = Float64[u.delta; u.extra]
    m, us = all_of(FedFlux.forge_from(attack, honest, 2, rng)), all_of.(updates)
    gap(a, b) = sum(abs2, a - b)
    hidden(m) =
        attack isa MinMax ?
        maximum(u -> gap(m, u), us) <= maximum(gap(u, v) for u in us, v in us) :
        sum(u -> gap(m, u), us) <= maximum(sum(gap(u, v) for v in us) for u in us)
    center = mean(us)
    at(s) = center + s * (m - center)
    @test hidden(at(0.999)) && !hidden(at(1.001))
    direction =
        attack.p === :std ? -std(us; corrected = false) :
        attack.p === :mean ? -center : -sign.(center)
    unit(v) = v ./ sqrt(sum(abs2, v))
    @test unit(m - center) ≈ unit(direction) rtol = 1e-4
    # Nothing to hide behind: all honest updates are one.
    same = (; updates = fill(updates[1], 3), mean = updates[1],
        deviation = map(zero, updates[1]))
    @test FedFlux.forge_from(attack, same, 2, rng).delta ≈ updates[1].delta
end

@testset "Fang's attack lies beyond the honest values, against the mean" begin
    updates = [Update(; delta = Float32[1+i, i-5, -i, 4-i]) for i = 0:3]
    moments = Moments()
    foreach(u -> FedFlux.observe!(moments, u), updates)
    honest = (; updates, moments.mean, deviation = deviation(moments))
    draws = reduce(hcat,
        FedFlux.forge_from(Fang(2), honest, 2, Stream(1, :attack, 1, k)).delta for
        k = 1:200)
    # means 2.5, -3.5, -1.5, 2.5; smallest 1, -5, -3, 1; largest 4, -2, 0, 4
    for (i, (low, high)) in enumerate(((0.5, 1), (-2, -1), (0, 0), (0.5, 1)))
        @test all(v -> low <= v <= high, draws[i, :])
        @test low == high ||
              maximum(draws[i, :]) - minimum(draws[i, :]) > 0.9 * (high - low)
    end
end

@testset "fitted attacks in a run: $attack" for attack in (MinMax(), MinSum(), Fang())
    f(threads) = fitted(fresh(; attack = Attackers(attack; count = 3),
            aggregate = TrimmedMean(0.3)); threads)
    θ, history, _ = f(1)
    @test all(r -> r.clients == 10 && isempty(r.rejected), history)
    @test f(2)[1] == θ != fitted(fresh(; aggregate = TrimmedMean(0.3)))[1]
end

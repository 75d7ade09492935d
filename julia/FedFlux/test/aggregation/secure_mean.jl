# The weighted mean by secure aggregation: fixed point, whole rounds and runs.
using FedFlux: FixedPoint, quantize!, write_wide!, read_wide, dequantize, as_integers,
    build,
    WorkerPool, engine, flatten, global_model, add!, start, finish, protocol

@testset "fixed point, in $T" for T in (UInt32, UInt64)
    f = FixedPoint{T}(100; range = 2.0, bits = 12)
    v = Float32[0, 1, -1, 2, -2, 2.001, -9, 1/2048, 0.4/1024, 0.6/1024, -0.6/1024]
    out = zeros(T, length(v))
    @test quantize!(f, out, v, 1.0) == 2
    @test signed.(out) == [0, 1024, -1024, 2048, -2048, 2048, -2048, 0, 0, 1, -1]
    @test quantize!(f, out, v, 0.25) == 2      # clipped before it is multiplied
    @test signed.(out[1:7]) == [0, 256, -256, 512, -512, 512, -512]
    @test dequantize(f, signed.(out), 4.0)[1:7] == clamp.(v, -2, 2)[1:7]
    # wide: two digits, 2^11 times the range
    wide = zeros(T, 2length(v))
    values = Float32[0, 1, -1, 3000, -3000, 4096, -4096, 4097, -1.0f9, 1/1024, 17.5]
    @test quantize!(f, wide, values, 1.0) == 2
    @test read_wide(f, wide) == 1024 .* clamp.(values, -4096, 4096)
    @test all(x -> abs(signed(x)) <= 2^11, wide)
    for q in (0, 1, -1, 1023, 1024, 1025, -1024, -1025, 2047, 2048, 2^22, -2^22, 2^22 - 1)
        write_wide!(f, view(wide, 1:2), q)
        @test read_wide(f, wide[1:2]) == [q]
    end
end

@testset "what would wrap around is an error beforehand, with the numbers" begin
    for (T, capacity) in ((UInt32, big(2)^31 - 1), (UInt64, big(2)^63 - 1)),
        n in (1, 3, 100, 255, 256, 1000, 100_000)

        most = FixedPoint{T}(n).bits
        @test n * big(2)^(most - 1) <= capacity && most <= 24
        most == 24 || @test n * big(2)^most > capacity
    end
    m = message(() -> FixedPoint{UInt32}(256; bits = 24))
    @test occursin("256 clients × 8388608", m) && occursin("beyond 2147483647", m)
    @test occursin("use bits=23 or ring=64", m)
    @test FixedPoint{UInt32}(255; bits = 24).bits == FixedPoint{UInt64}(256; bits = 24).bits
    @test occursin(
        "bits is 3; expected from 4",
        message(() -> FixedPoint{UInt32}(9; bits = 3))
    )
    @test occursin("range is 0", message(() -> FixedPoint{UInt32}(9; range = 0)))
    @test occursin("range is Inf", message(() -> SecureMean(; range = Inf)))
    # The largest cohort with the largest values: nothing wraps around.
    for s in (1, -1)
        us = [Update(; delta = fill(s * 8.0f0, 3), stats = [1.0f0s]) for _ = 1:255]
        ū = combine_updates(SecureMean(; bits = 24, neighbours = 4), us)
        @test ū.delta == fill(8.0f0s, 3) && ū.stats == [1.0f0s]
        @test occursin(
            "256 clients",
            message(
                () ->
                    combine_updates(SecureMean(; bits = 24, neighbours = 4), [us; us[1]])
            )
        )
    end
end

facts(W; round = 1) = (; seed = UInt64(5), round, max_weight = Float64(W))
update(rng) = Update(; delta = 3 .* randn(rng, Float32, 50), dc = randn(rng, Float32, 7),
    stats = 100 .* randn(rng, Float32, 4),
    metrics = (; work = 1000 .* rand(rng, Float32, 2)))

@testset "it is the mean of fixed point, exactly: ring $ring, drop $drop" for ring in
                                                                              (32, 64),
    drop in (0.0, 0.04)

    rng = Xoshiro(ring)
    us, weights, W = [update(rng) for _ = 1:40], rand(rng, 1:800, 40), 900
    a = SecureMean(; neighbours = 10, threshold = 0.5, bits = 20, range = 4.0, ring, drop)
    acc = start(a, 40, facts(W))
    foreach((u, w) -> (acc = add!(a, acc, u, w)), us, weights)
    ū = finish(a, acc, 1)
    p, told = protocol(a, acc), FedFlux.report(a, acc)
    there = setdiff(1:40, first.(p.left_out))
    @test p.aborted === nothing && (drop == 0) == isempty(p.left_out)
    # The equations of docs/secure-aggregation.md, anew: spacing 4/2^19, wide numbers reach
    # 4·2^19.
    total = sum(weights[there])
    function fixed(part, reach)
        sums = sum(
            big.(
                round.(
                    clamp.(Float64.(part(us[i])), -reach, reach) .*
                    (weights[i] / W * 2.0^19 / 4)
                )
            ) for i in there
        )
        return Float32.(Float64.(sums) .* (W / total / (2.0^19 / 4)))
    end
    @test ū.delta == fixed(u -> u.delta, 4.0) && ū.dc == fixed(u -> u.dc, 4.0)
    @test ū.stats == fixed(u -> u.stats, 4 * 2.0^19)
    @test ū.metrics.work == fixed(u -> u.metrics.work, 4 * 2.0^19)
    @test told.clipped == sum(i -> count(x -> abs(x) > 4, us[i].delta), there) > 0
    @test told.bits == 20
    # And the plain mean, of clipped values, within half a unit for each client.
    clipped(u) = Update(u; delta = clamp.(u.delta, -4.0f0, 4.0f0))
    plain = combine_updates(Mean(), clipped.(us[there]); weights = weights[there])
    bound = length(there) / 2 * W / total * 4 / 2^19
    for name in (:delta, :dc, :stats)
        @test maximum(abs, getproperty(ū, name) .- getproperty(plain, name)) <=
              bound + 1e-6 * maximum(abs, getproperty(plain, name))
    end
end

@testset "what an update may be" begin
    us = [Update(; delta = Float32[k, 1]) for k = 1:3]
    a = SecureMean()
    @test combine_updates(a, us).delta == [2, 1]
    @test combine_updates(a, us; weights = [1, 0, 1]).delta == [2, 1]
    @test combine_updates(a, us; weights = [0, 0, 0]) === nothing
    @test combine_updates(a, us; weights = [10, 20, 70],
        reference = facts(70)).delta ≈ [2.6, 1] atol = 1e-5
    @test occursin("needs 3 updates and got 2", message(() -> combine_updates(a, us[1:2])))
    @test occursin("weight is 0.5; expected a whole number",
        message(() -> combine_updates(a, us; weights = [1, 0.5, 1])))
    @test occursin("weight is 2.0; expected a whole number up to 1.0",
        message(() -> combine_updates(a, us; weights = [1.0, 2.0, 1.0])))
    nan = [us; Update(; delta = Float32[NaN, 1])]
    @test occursin("NaN or Inf", message(() -> combine_updates(a, nan)))
    @test occursin(
        "more bits",
        message(
            () -> combine_updates(SecureMean(; bits = 4), us;
                weights = [65, 65, 65], reference = facts(65))
        )
    )
    @test repr(build("aggregate", "secure")) == repr(SecureMean())
    @test occursin("even", message(() -> build("aggregate", "secure(neighbours=5)")))
    @test occursin("ring is 16", message(() -> SecureMean(; ring = 16)))
    @test occursin("drop is 2", message(() -> SecureMean(; drop = 2)))
end

x, y = blobs(240)
clients = Clients(x, y, [1:40, 41:60, 61:110, 111:140, 141:200, 201:240])
model = Chain(Dense(6 => 8), BatchNorm(8, tanh), Dense(8 => 3))
federated(rules = (), aggregate = Mean(); kw...) =
    Federated(model; optimizer = Descent(0.05f0), batchsize = 16, seed = 4,
        rules = Tuple(build("rule", r) for r in rules), aggregate, trainer = :zygote, kw...)

"Rounds of all clients: the parameters in model order, the state and the history."
function rounds(f; n = 3, threads = 1, st = nothing, warn = Returns(nothing))
    pool = WorkerPool(f, clients; threads)
    st = st === nothing ? State(f, engine(pool)) : st
    _, history, _ = fit!(f, st, clients; rounds = st.round + n, pool, test = (x, y), warn)
    return flatten(global_model(f, st, engine(pool))), st, history
end

secure(; kw...) = SecureMean(; neighbours = 4, kw...)

@testset "a run is the plain one, within fixed point: $rules, weights $weights" for rules in
                                                                                    (
        (), ("scaffold",), ("fednova",), ("fedbn",), ("ditto",), ("qffl(q=1)",),
        ("fedsgd",),
        ("feddyn",)),
    weights in (:samples, :uniform)

    # q-FFL divides by the learning rate of 0.05, and its metric may be small.
    range, near = rules == ("qffl(q=1)",) ? (512.0, 1e-3) : (8.0, 2e-5)
    a = secure(; range)
    plain, st, _ = rounds(federated(rules; weights))
    θ, secret, history = rounds(federated(rules, a; weights))
    @test maximum(abs, θ .- plain) < near && θ != plain
    @test maximum(abs, secret.stats .- st.stats; init = 0.0f0) < near
    @test all(r -> r.aggregation.clipped == 0 && r.skipped === nothing, history)
    @test all(r -> r.clients == 6 && isempty(r.dropped), history)
end

@testset "bit for bit the same, on any threads and in a resume, with drops" begin
    for rules in ((), ("scaffold",))
        f = federated(rules, secure(; drop = 0.06, threshold = 0.5))
        θ, st, history = rounds(f; n = 6)
        @test rounds(f; n = 6)[1] == θ
        @test rounds(f; n = 6, threads = Threads.nthreads())[1] == θ
        _, half, _ = rounds(f; n = 3)
        @test rounds(f; n = 3, st = deepcopy(half))[1] == θ
        @test sum(r -> sum(r.aggregation.vanished), history) > 0
        @test any(r -> !isempty(r.dropped), history)
    end
end

@testset "who vanished before its vector came did not take part" begin
    f = federated(("scaffold",), secure(; drop = 0.06, threshold = 0.25))
    _, st, history = rounds(f; n = 10)
    p = [40, 20, 50, 30, 60, 40] ./ 240
    mean_c = sum(p[k] .* get(st.private, k, (zero(st.θ),))[1] for k = 1:6)
    @test st.shared[1] ≈ mean_c atol = 1e-4      # c is the mean of the cₖ
    lost = [d for r in history for d in r.dropped]
    @test !isempty(lost)
    for r in history
        @test r.clients == 6 - length(r.dropped) || r.skipped !== nothing
        @test all(d -> startswith(d.reason, "vanished before "), r.dropped)
        late = r.aggregation.vanished[4]
        @test length(r.dropped) + late == sum(r.aggregation.vanished) ||
              r.skipped !== nothing
    end
end

@testset "an aborted round leaves everything but its number, and says why" begin
    f = federated(("scaffold",), secure())
    _, st, _ = rounds(f; n = 2)
    before = deepcopy(st)
    gone = federated(("scaffold",), secure(; drop = 0.9))
    warnings = String[]
    _, st, history = rounds(gone; n = 2, st, warn = m -> push!(warnings, m))
    @test st.round == 4 && st.θ == before.θ && st.stats == before.stats
    @test st.shared == before.shared && st.private == before.private
    @test all(
        r -> startswith(r.skipped, "secure aggregation was aborted: "),
        history[(end-1):end]
    )
    @test any(contains("secure aggregation was aborted"), warnings)
    # Fewer are left than min_updates asks for: the same.
    few = federated(
        (),
        secure(; drop = 0.1, threshold = 0.25);
        faults = Faults(; min_updates = 6)
    )
    @test any(
        r -> r.skipped !== nothing && occursin("were left, and 6 are needed", r.skipped),
        rounds(few; n = 8)[3])
end

@testset "bytes and seconds are in the record" begin
    f = federated((), secure())
    _, st, history = rounds(f; n = 1)
    r = history[1]
    n, stats = length(st.θ), length(st.stats)
    words = n + 2stats + 4
    @test r.aggregation.stages_up ==
          6 .* (72, 4 + 4 + 32 + 4 * 104, 4 + 4 + 4words, 4 + 4 + 4 * 40)
    @test r.bytes_up == sum(r.aggregation.stages_up)
    @test r.bytes_down == 6 * 4 * (n + stats) + sum(r.aggregation.stages_down)
    @test 0 < r.aggregation.seconds_client < 60 && 0 < r.aggregation.seconds_server < 60
    @test FedFlux.asdict(r)["aggregation"]["clipped"] == 0
    @test FedFlux.asdict(rounds(federated(); n = 1)[3][1])["aggregation"] == Dict()
end

@testset "values beyond the range are counted, and warned of once" begin
    told = String[]
    f = federated((), SecureMean(; range = 1e-4))
    pool = WorkerPool(f, clients)
    _, history, _ = fit!(f, State(f, pool), clients; rounds = 2, pool,
        warn = w -> push!(told, w))
    n = history[1].aggregation.clipped
    @test n > 0 && length(told) == 1
    @test occursin("round 1: $n values of the clients went beyond the range", only(told))
    @test occursin("clip is 20.0 and range 8.0",
        message(() -> SecureMean(; noise = 1.0, clip = 20.0)))
    for rule in ("scaffold", "feddyn")
        noisy = SecureMean(; noise = 1.0, clip = 1.0)
        @test occursin("clipped and with noise", message(() -> federated((rule,), noisy)))
    end
end

@testset "what does not go together is refused with the reason" begin
    refused(words, rules; kw...) =
        @test occursin(words, message(() -> federated(rules, secure(); kw...)))
    for rule in ("topk", "randk", "quantize", "qsgd", "sign", "ternary", "powersgd",
        "sketch", "prune", "prune_channels")
        refused("the masked vector is dense", (rule,))
    end
    refused("masks cancel only in the sum of one cohort", ("fedbuff",))
    refused("each client's loss", ("afl",))
    for attack in ("alie", "ipm")
        refused("know all honest updates", ();
            attack = Attackers(build("attack", attack); count = 1))
    end
    flip =
        federated((), secure(); attack = Attackers(build("attack", "sign_flip"); count = 1))
    @test all(isfinite, rounds(flip; n = 1)[1])
    nan = federated(
        (),
        secure();
        attack = Attackers(build("attack", "broken(what=\"nan\")"); count = 1)
    )
    _, _, history = rounds(nan; n = 1)
    @test length(history[1].rejected) == 1 && history[1].clients == 5
    f = federated((), secure())
    few() = fit!(f, State(f, WorkerPool(f, clients)), clients; clients_per_round = 2)
    @test occursin("needs at least 3 updates", message(few))
end

@testset "a run by name, and its resume from a checkpoint" begin
    quick = (; dataset = "digits", model = "mlp", hidden = [20], clients = 6, seed = 2)
    named = (; quick..., aggregate = "secure(neighbours=4, drop=0.02, threshold=0.5)")
    whole = FedFlux.run(; named..., rounds = 4)
    mktempdir() do folder
        FedFlux.run(; named..., rounds = 2, checkpoint = folder)
        resumed = FedFlux.run(; resume = folder, rounds = 4)
        @test resumed.params_sha256 == whole.params_sha256
        key(r) =
            (r.round, r.dropped, r.bytes_up, r.aggregation[(:bits, :clipped, :vanished)])
        @test key.(resumed.history) == key.(whole.history)
    end
    gap(a, b) = maximum(maximum(abs, u .- v) for (u, v) in zip(a.parameters, b.parameters))
    plain = FedFlux.run(; quick..., rounds = 4)
    exact = FedFlux.run(; quick..., rounds = 4, aggregate = "secure")
    coarse = FedFlux.run(; quick..., rounds = 4, aggregate = "secure(bits=8)")
    @test gap(exact, plain) < 1e-5 < 1e-3 < gap(coarse, plain)
    @test occursin(
        "use bits=",
        message(() -> FedFlux.run(; quick..., aggregate = "secure(bits=32)"))
    )
end

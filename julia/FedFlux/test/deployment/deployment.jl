# Deployment: sessions that exchange bytes give what a simulation gives, bit for bit; and
# nothing that arrives does harm.
using FedFlux: drop!, JSON, Reader, Writer
include(joinpath(@__DIR__, "..", "setup", "deployed.jl"))

function simulated(f; rounds = 4, clients_per_round = 3,
    sampling = CohortSampling(clients_per_round))
    pool = WorkerPool(f, x)
    st = State(f, pool)
    _, history, _ = fit!(f, st, clients; rounds, sampling, pool, test = (x, y),
        warn = FedFlux.Callback(Returns(nothing)))
    return st, history
end

uniform = (; weights = :uniform)
SCAFFOLD_TOPK = ("scaffold", "topk(fraction=0.2)")
CLIENT_DP = ("client_dp(reproducible=true, quantile=0.5, count_noise=1.0)",)
LOCAL_DP = ("fedper", "local_dp(reproducible=true)", "quantize(bits=8)")
CASES = [(model, (), (; server = FedAdam(), aggregate = Krum(0))),
    (model, SCAFFOLD_TOPK, (;)), (model, CLIENT_DP, uniform),
    (model, LOCAL_DP, uniform),
    (normed, ("fedprox(mu=0.1)", "qffl", "quantize(bits=4, feedback=false)"), (;)),
    (model, ("ditto", "fednova", "powersgd(rank=1)"), (;)),
    (model, ("fedprox(mu=0.1)", "quantize(bits=4)"), (; aggregate = TrimmedMean(0.3))),
    (model, ("afl", "fedrep", "randk(fraction=0.3, feedback=false)"), (;)),
    (model, ("fedsgd", "sketch(rows=3, cols=20, k=6)"), (;)),
    (normed, ("prune(sparsity=0.5, stop=2)", "fedbn", "topk(fraction=0.5)"), (;)),
    (model, ("feddyn", "fedper", Download(TopK(0.1))), (;))]

@testset "the simulation's parameters, bit for bit: $rules" for (m, rules, more) in CASES
    f = federated(m, rules; more...)
    st, history = simulated(f)
    server, nodes = deployed(f)
    _, up = exchange!(server, nodes)
    @test server.st.θ == st.θ && server.st.stats == st.stats
    @test server.st.server == st.server && server.st.shared == st.shared
    known(r) = (r.round, r.train_loss, r.test_loss, r.accuracy, r.clients, r.bytes_up,
        r.rejected, r.dropped, r.skipped, r.epsilon)
    @test isequal(known.(server.run_log.history), known.(history))
    # Beside the updates, 45 bytes for each client and 5 for each vector.
    vectors = length(server.like.vectors) + 1 + length(server.like.metrics)
    @test all(r -> up[r.round] == r.bytes_up + r.clients * (45 + 5vectors), history)
    # Private arrays and pruned models travel whole, and λ not at all while all are equal.
    steps = any(r -> r isa Download, rules)
    whole = !steps &&
            any(r -> r in ("fedper", "fedrep", "fedbn"), rules)
    @test all(zip(server.run_log.history, history)) do (real, counted)
        whole ? real.bytes_down >= counted.bytes_down - 12 :
        real.bytes_down == counted.bytes_down
    end
    if steps
        @test last(server.run_log.history).bytes_down < 3 * 4 * f.layout.n / 2
    end
end

@testset "cohorts of chance, one of them empty" begin
    f = federated(model, CLIENT_DP; uniform...)
    sampling = CohortSampling(1; sampling = FedFlux.PoissonSampling(0.2))
    st, history = simulated(f; sampling, rounds = 8)
    server, nodes = deployed(f; sampling, rounds = 8)
    exchange!(server, nodes)
    @test server.st.θ == st.θ
    @test any(r -> r.clients == 0, history) && any(r -> r.clients > 0, history)
end

"Rounds of a server that ends in `break!`: it goes on from its checkpoint as if it had not."
function goes_on(break!; rounds)
    f = federated(model, SCAFFOLD_TOPK)
    st, _ = simulated(f; rounds = 6)
    mktempdir() do folder
        kept = [UInt8[] for _ in parts]
        server, nodes = deployed(f; rounds = 6, folder)
        for _ = 1:rounds
            answer_all!(server, nodes, kept, next_exchange!(server))
        end
        break!(server, nodes, kept, folder)
        server, _ = deployed(f; rounds = 6, folder, resume = true)
        @test server.st.round == 3
        exchange!(server, nodes, kept)
        @test server.st.θ == st.θ && server.st.shared == st.shared
    end
end

@testset "a server that was killed goes on from its checkpoint to the same parameters" begin
    goes_on(; rounds = 3) do server, nodes, kept, folder
        e = next_exchange!(server)   # round 4: all have trained, none was added
        answer_all!(server, nodes, kept, e; change = Returns(nothing))
    end
end

@testset "a damaged newest checkpoint loses no node's state" begin
    goes_on(; rounds = 5) do server, nodes, kept, folder    # killed while round 5 went on
        write(FedFlux.json_path(folder, 4), "x")
    end
end

"Rounds by hand, round 2 without client 2, as a simulation has it."
function without_second(f)
    pool = WorkerPool(f, x)
    st = State(f, pool)
    for cohort in (1:5, [1, 3, 4, 5], 1:5)
        round!(f, st, clients, cohort; pool)
    end
    return st
end
spoil(f) = (e, k, reply) -> e.round == 2 && k == 2 ? f(reply) : reply
replaced(v, at, with) = (v = copy(v); v[at] = with; v)

@testset "what is rejected, and why: the round goes on without it" begin
    f = federated(model, SCAFFOLD_TOPK)
    expected = without_second(f).θ
    n = f.layout.n
    # Of delta, the first vector, whose size stands behind its kind.
    size(reply) = Int(only(reinterpret(UInt32, reply[47:50])))
    last_float(reply) = (50+size(reply)-3):(50+size(reply))
    nan = collect(reinterpret(UInt8, [NaN32]))
    for (change, reason) in [
        (reply -> replaced(reply, last_float(reply), nan), "NaN or Inf"),
        (reply -> reply[1:(end-1)], "should take"), (reply -> [reply; 0x00], "too many"),
        (reply -> UInt8[], "no message"), (reply -> replaced(reply, 4, 0x09), "version 9"),
        (reply -> replaced(reply, 5, 0x02), "stage keys"),
        (reply -> replaced(reply, 6, 0x08), "another federation"),
        (reply -> replaced(reply, 22, 0x01), "of round 1, not 2"),
        (reply -> replaced(reply, 26, 0x03), "of client 3"),
        (reply -> replaced(reply, 47:50, fill(0xff, 4)), "bytes, and $n values"),
        (reply -> replaced(reply, 46, 0x01), "no rule does"),
        (reply -> zeros(UInt8, 1 << 20), "too large")
    ]
        server, nodes = deployed(f; rounds = 3, clients_per_round = 5)
        exchange!(server, nodes; change = spoil(change))
        @test server.st.θ == expected
        (; rejected) = server.run_log.history[2]
        @test only(rejected).client == 2 && occursin(reason, only(rejected).reason)
    end
    # It never came: the client trained, and its state of that round doesn't count.
    server, nodes = deployed(f; rounds = 3, clients_per_round = 5)
    exchange!(server, nodes; change = spoil(Returns(nothing)))
    @test server.st.θ == expected
    @test server.run_log.history[2].dropped == [(; client = 2, reason = "did not answer")]
    # Twice, and unasked.
    server, nodes = deployed(f; clients_per_round = 3)
    e = next_exchange!(server)
    k = first(e.clients)
    _, reply, _ = answer!(nodes[k], first(e.messages), e.arrays, UInt8[])
    @test take_reply!(server, k, reply) === nothing
    @test take_reply!(server, k, reply) == "was sent twice"
    other = first(setdiff(1:5, e.clients))
    @test take_reply!(server, other, reply) == "was not asked in this round"
    drop!(server, e.clients[2], "its battery is empty")
    r = next_exchange!(server).record
    @test [d.client for d in r.rejected] == [k, other]
    @test r.dropped[1] == (; client = e.clients[2], reason = "its battery is empty")
end

"A copy of `bytes` with something changed at random."
function mutated(rng, bytes)
    bytes = copy(bytes)
    how = rand(rng, 1:5)
    how == 1 && return bytes[1:rand(rng, 0:length(bytes))]
    how == 2 && return [bytes; rand(rng, UInt8, rand(rng, 1:20))]
    at = rand(rng, 1:length(bytes))
    how == 3 && (bytes[at] = rand(rng, UInt8))
    how == 4 && (bytes[at:min(at+3, end)] .= 0xff)
    how == 5 && (bytes[at] ⊻= 0x01 << rand(rng, 0:7))
    return bytes
end

@testset "an update that a node didn't clip, the server does" begin
    for rules in (("client_dp(clip=0.5, noise_multiplier=1e-9, reproducible=true)",),
        ("dp_ftrl(clip=0.5, noise_multiplier=1e-9, reproducible=true)",))
        f = federated(model, rules; uniform...)
        server, nodes = deployed(f; rounds = 1, clients_per_round = 5)
        before = copy(server.st.θ)
        huge = FedFlux.encode!(Writer(), Update(; delta = fill(7.0f6, f.layout.n))).bytes
        exchange!(server, nodes;
            change = (e, k, reply) -> k == 2 ? [reply[1:45]; huge] : reply)
        @test server.run_log.history[1].clients == 5
        @test sqrt(sum(abs2, server.st.θ .- before)) <= 0.5 + 1e-5
    end
end

@testset "whatever bytes come: a reason, and no memory taken for what they claim" begin
    rng = Xoshiro(5)
    for (rules, more) in ((SCAFFOLD_TOPK, (;)), (LOCAL_DP, uniform))
        f = federated(model, rules; more...)
        server, nodes = deployed(f; clients_per_round = 5)
        e = next_exchange!(server)
        _, reply, kept = answer!(nodes[2], e.messages[2], e.arrays, UInt8[])
        function read_it(bytes)
            try
                return FedFlux.read_reply(server, 2, bytes)
            catch err
                err isa FedFluxError || rethrow()
                return err.message
            end
        end
        outcomes = [
            (read_it(b), @allocated read_it(b))
            for b in (mutated(rng, reply) for _ = 1:1000)
        ]
        @test count(o -> o[1] isa String, outcomes) > 400
        @test all(o -> o[1] isa Union{String,FedFlux.Trained}, outcomes)
        @test maximum(last, outcomes) < 10^6
        # The client, of a server's message and of what it kept itself.
        arrays = e.arrays
        told = map(1:300) do i
            message = isodd(i) ? mutated(rng, e.messages[2]) : e.messages[2]
            private = isodd(i) ? kept : mutated(rng, kept)
            text, _, _, _ = FedFlux._client_answer(nodes[2], message, arrays, private)
            haskey(JSON.parse(text), "error")
        end
        @test count(told) > 80
    end
    deep = [codeunits("[" ^ 100_000); codeunits("]" ^ 100_000)]
    w = Writer()
    FedFlux.writeword!(w, UInt32(length(deep)))
    append!(w.bytes, deep)
    @test occursin("nested deeper", message(() -> FedFlux.read_values!(Reader(w.bytes))))
    long = Reader(fill(0xff, 8))
    @test occursin("a text of", message(() -> FedFlux.read_values!(long)))
end

@testset "a server's number makes no model that it has not sent" begin
    d = FedFlux.load_dataset("digits")[1]
    own = Dataset(d.x[:, :, :, 1:20], d.y[1:20], nothing, nothing)
    for model in ("mlp", "softmax_regression", "lenet")
        given = FedFlux.Options(; model, hidden = [8])
        model == "lenet" &&
            (own = Dataset(rand(Float32, 28, 28, 1, 20), d.y[1:20], nothing,
                nothing))
        node, _ = FedFlux.open_client(given, own)
        for outputs in (1, 10, 13, 37)
            made = FedFlux.build_model(model, size(own.x)[1:3], max(outputs, 10);
                hidden = [8], rng = Stream(0, :init))
            @test node.parameters(outputs) == sum(length, Optimisers.trainables(made))
        end
        f, = node.make(10)
        arrays = collect(Array{Float32}, Optimisers.trainables(f.model))
        asked(outputs, arrays) = message(
            () -> FedFlux.prepare!(node,
                (; node.options, outputs), arrays, nothing)
        )
        @test occursin("and came with 0", asked(10^6, Array{Float32}[]))
        @test occursin("and came with", asked(10^6, arrays))
        @test (@allocated asked(10^6, arrays)) < 2^22
        @test asked(10, arrays) == "no error was thrown"
    end
end

"Client 2's shares, of which `how many` can't be opened any more."
function garbled_shares(reply, many)
    reply = copy(reply)
    first_share = 29 + 4 + 4 + 32       # behind the header, round, client and commitment
    for i = 0:(many-1)
        reply[first_share+104i+8+50] ⊻= 0x01
    end
    return reply
end

"The shares of four seeds with which client 2 answers, each with one bit changed."
function wrong_shares(reply)
    reply = copy(reply)
    foreach(i -> reply[29+8+40i+1] ⊻= 0x01, 0:3)
    return reply
end

@testset "one client that breaks the protocol stops no round, and is named" begin
    f = federated(model, ("scaffold",); aggregate = SecureMean())
    expected, whole = without_second(f), simulated(f; clients_per_round = 5, rounds = 3)[1]
    function played(stage, change; rounds = 3)
        server, nodes = deployed(f; rounds, clients_per_round = 5)
        exchange!(
            server,
            nodes;
            change = (e, k, reply) ->
                e.round == 2 && k == 2 && e.stage == stage ? change(reply) : reply
        )
        server, server.run_log.history[2]
    end
    server, record = played("shares", reply -> garbled_shares(reply, 4))
    @test server.st.θ == expected.θ && record.clients == 4
    @test only(record.dropped).client == 2
    @test occursin("sealed shares that 0 of 4", only(record.dropped).reason)
    # One neighbor alone can't open its share.
    server, record = played("shares", reply -> garbled_shares(reply, 1))
    @test server.st.θ == whole.θ && isempty(record.dropped) && isempty(record.rejected)
    server, record = played("unmask", wrong_shares)
    @test server.st.θ == whole.θ && record.clients == 5 && isempty(record.dropped)
    @test only(record.rejected).client == 2
    @test occursin("sent a wrong share", only(record.rejected).reason)
    # It commits itself to another seed: nobody can go on, and it isn't asked again.
    server, record = played("shares", reply -> (reply[29+8+1] ⊻= 0x01; reply))
    @test occursin("client 2 has a seed that no 3 of", record.skipped)
    third = server.run_log.history[3]
    @test third.clients == 4 && third.skipped === nothing
    @test occursin("is left out: in round 2 it has a seed", only(third.dropped).reason)
end

@testset "how much noise a client adds is no server's word" begin
    # What the server says of the cohort: 5, or a million, of which each would add nothing.
    told(a, n) = begin
        acc = FedFlux.start(a, n, (; seed = UInt64(1), round = 1, max_weight = 1.0))
        like = (; vectors = (; delta = 100), stats = 0, metrics = (;))
        FedFlux.expect_shape!(a, acc, like)
        sqrt(acc.noise.variance) / acc.noise.sensitivity
    end
    bare, known = (SecureMean(; noise = 2.0, clip = 0.5, cohort) for cohort in (nothing, 5))
    @test told(bare, 5) ≈ 2 / sqrt(5) rtol = 1e-3
    @test told(bare, 10^5) < 0.01           # why a node asks for cohort
    @test told(known, 5) ≈ 2 / sqrt(5) rtol = 1e-2
    @test told(known, 10^5) ≈ 2 / sqrt(5) rtol = 1e-2
    asked(aggregate) = begin
        f = federated(model, (); aggregate, uniform...)
        server, nodes = deployed(f; rounds = 1, clients_per_round = 5)
        message(() -> exchange!(server, nodes)), server
    end
    @test occursin("takes no server's word", first(asked(bare)))
    reason, server = asked(known)
    @test reason == "no error was thrown"
    record = only(server.run_log.history)
    simulation = FedFlux.guarantee(federated(model, (); aggregate = bare, uniform...),
        CohortSampling(5), clients)
    @test record.skipped === nothing && record.aggregation.senders == 5
    @test record.epsilon ≈ FedFlux.epsilon_after(simulation, 1, [record.aggregation])
    @test occursin(
        "give cohort too",
        message(
            () -> FedFlux.check_deployable(
                FedFlux.Options(; aggregate = "secure(noise=2, clip=0.5)"))
        )
    )
    @test occursin(
        "of which 6 must send",
        message(
            () -> FedFlux.guarantee(
                federated(model, ();
                    aggregate = SecureMean(; noise = 2.0, clip = 0.5, cohort = 9),
                    uniform...), CohortSampling(5), clients)
        )
    )
    # And none is unmasked if fewer than that share are in the sum.
    parties = [
        FedFlux.SecureClient(
            FedFlux.SecureSetup{UInt32}(; round = 1, words = 1,
                fewest = 5, threshold = 0.5), id) for id = 1:6
    ]
    sums = FedFlux.SecureServer(first(parties).setup)
    foreach(c -> FedFlux.deliver!(sums, FedFlux.advertise!(c)), parties)
    keys = FedFlux.advertised!(sums)
    foreach(c -> FedFlux.deliver!(sums, FedFlux.share!(c, keys[c.id])), parties)
    boxes = FedFlux.shared!(sums)
    FedFlux.mask!(parties[1], boxes[1], UInt32[1])
    few = FedFlux.UnmaskRequest(1, UInt32[2, 3, 4], UInt32[5, 6])
    @test occursin("a sum of 4 clients; expected at least 5",
        message(() -> FedFlux.unmask!(parties[1], few)))
end

@testset "a client's state between two stages, with three thousand neighbors" begin
    c = FedFlux.SecureClient(FedFlux.SecureSetup{UInt32}(; round = 1, words = 2), 1)
    share() = ntuple(_ -> rand(UInt64) >> 3, 5)
    key = rand(UInt8, 32)
    for id = UInt32(2):UInt32(3001)
        c.neighbors[id] = FedFlux.PublicKeys(1, id, key, key)
        c.held[id] = (share(), share())
    end
    states = FedFlux.ClientStates(fill(0x01, 16))
    states.secure = FedFlux.party_state(c, UInt32[1, 2])
    back = FedFlux.ClientStates(FedFlux.kept_bytes(states), fill(0x01, 16))
    again = FedFlux.SecureClient(back.secure)
    @test again.held == c.held && again.neighbors[7].masking == key
    @test (again.seed, again.id, again.stage) == (c.seed, c.id, c.stage)
end

@testset "secure aggregation in four stages: the sum of the simulation" begin
    f = federated(model, ("scaffold",); aggregate = SecureMean())
    st, history = simulated(f; clients_per_round = 4)
    server, nodes = deployed(f; clients_per_round = 4)
    _, up = exchange!(server, nodes)
    @test server.st.θ == st.θ && server.st.shared == st.shared
    for (real, expected) in zip(server.run_log.history, history)
        @test real.bytes_up == expected.bytes_up == up[real.round] - 4 * 4 * 29
        @test real.bytes_down == expected.bytes_down && isnan(real.train_loss)
        @test real.aggregation[(:bits, :clipped, :senders, :vanished, :stages_up)] ==
              expected.aggregation[(:bits, :clipped, :senders, :vanished, :stages_up)]
    end
    # Client 2 vanishes in a stage of round 2, or sends what isn't right there.
    expected, whole = without_second(f), simulated(f; clients_per_round = 5, rounds = 3)[1]
    for stage in ("keys", "shares", "masked", "unmask"), bad in (false, true)
        server, nodes = deployed(f; rounds = 3, clients_per_round = 5)
        spoilt(reply) = bad ? [reply; 0x00] : nothing
        exchange!(server, nodes;
            change = (e, k, reply) ->
                e.round == 2 && k == 2 && e.stage == stage ? spoilt(reply) : reply)
        @test server.st.θ == (stage == "unmask" ? whole : expected).θ
        r = server.run_log.history[2]
        @test r.clients == (stage == "unmask" ? 5 : 4) && length(r.rejected) == bad
        @test [d.client for d in r.dropped] ==
              (stage == "unmask" || bad && stage == "keys" ?
               Int[] : [2])
    end
    # A server that asks such clients for updates in the clear gets none.
    plain, _ = deployed(federated(model, ("scaffold",)))
    _, nodes = deployed(f)
    e = next_exchange!(plain)
    asked() = answer!(nodes[first(e.clients)], first(e.messages), e.arrays, UInt8[])
    @test occursin("in the clear", message(asked))
    # Too few are left: the model stays, and the clients' states too.
    server, nodes = deployed(f; rounds = 1, clients_per_round = 4)
    before = copy(server.st.θ)
    exchange!(
        server,
        nodes;
        change = (e, k, reply) ->
            e.stage == "masked" && k != 1 ? nothing : reply
    )
    @test server.st.θ == before
    @test occursin("secure aggregation was aborted", server.run_log.history[1].skipped)
end

@testset "plain peers" begin
    f = federated(model, ())
    st, _ = simulated(f; clients_per_round = 5, rounds = 1)
    server, nodes = deployed(f; clients_per_round = 5, rounds = 1)
    e = next_exchange!(server)
    for k = 1:5
        # What a client in another framework does: weights in, weights out.
        own = FedFlux.update_model(model, e.arrays)
        train_model!(own, (x[:, parts[k]], y[parts[k]]); batchsize = 8,
            optimizer = Descent(0.05f0), rng = Stream(3, :batches, 1, k))
        arrays = collect(Array{Float32}, Optimisers.trainables(own))
        @test take_reply!(server, k, arrays, length(parts[k])) === nothing
    end
    next_exchange!(server)
    @test server.st.θ ≈ st.θ rtol = 1e-5
    first_arrays = e.arrays
    for (rules, arrays, samples, reason) in [((), first_arrays, 31, "claims 31 samples"),
        ((), first_arrays[1:3], 30, "holds 3 arrays"),
        ((), [a .* NaN32 for a in first_arrays], 30, "NaN or Inf"),
        (("fedprox",), first_arrays, 30, "doesn't know the rule FedProx")]
        server, _ = deployed(federated(model, rules); clients_per_round = 5)
        next_exchange!(server)
        @test occursin(reason, take_reply!(server, 1, arrays, samples))
    end
    # Flower's own server knows arrays only.
    facts, arrays, kept = answer!(nodes[2], first_arrays, UInt8[])
    @test facts.samples == 10 && size.(arrays) == size.(first_arrays)
    @test arrays != first_arrays
    facts, _, _ = answer!(nodes[2], arrays, kept)
    @test facts.round == 2
    needs = ClientSession(_ -> (federated(model, ("scaffold",)), x, y),
        Dict{String,String}())
    @test occursin("dc", message(() -> answer!(needs, first_arrays, UInt8[])))
end

@testset "from options, by the entries that Python calls" begin
    d = FedFlux.load_dataset("digits")[1]
    own(i) = (d.x[:, :, :, i], d.y[i])
    owner = [1 + i % 4 for i = 1:400]
    options = Dict{String,Any}("rounds" => 2, "clients_per_round" => 3, "local_steps" => 2)
    run_all = merge(options, Dict("partition" => "owner", "clients" => 4))
    expected = JSON.parse(
        first(
            FedFlux._pyrun(JSON.json(run_all),
                (own(1:400)..., d.xtest, d.ytest, owner), nothing, nothing,
                (a, b) -> false)
        )
    )
    mktempdir() do folder
        told(t) = (o = JSON.parse(t); @test !haskey(o, "error"); o)
        opened = map(1:4) do k
            text, node =
                FedFlux._client_open(JSON.json(options), own(findall(==(k), owner)),
                    nothing)
            merge(told(text), Dict("client" => k)), node
        end
        facts, nodes = JSON.json(first.(opened)), last.(opened)
        @test first(opened[1])["outputs"] == 10 && first(opened[1])["samples"] == 100
        kept = [UInt8[] for _ = 1:4]
        server = nothing
        open(more) = FedFlux._server_open(JSON.json(merge(options, more)), facts,
            (d.xtest, d.ytest), nothing, nothing)
        for (more, calls) in (("checkpoint" => folder, 2), ("resume" => folder, 9))
            server === nothing || FedFlux.close!(server)       # it was killed
            text, server = open(Dict(more))
            @test told(text)["round"] == (calls == 2 ? 0 : 1)
            for _ = 1:calls
                text, messages, arrays = FedFlux._server_next(server)
                e = told(text)
                e["done"] === nothing || break
                for (k, m) in zip(e["clients"], messages)
                    text, reply, kept[k], _ =
                        FedFlux._client_answer(nodes[k], m, arrays, kept[k])
                    told(text)
                    calls == 2 && e["round"] == 2 && continue
                    @test told(FedFlux._server_receive(server, k, reply, nothing,
                        nothing))["accepted"]
                end
            end
        end
        text, arrays = FedFlux._server_result(server)
        r = told(text)
        @test r["params_sha256"] == expected["params_sha256"] && length(arrays) == 8
        @test [h["accuracy"] for h in r["history"]] ==
              [h["accuracy"] for h in expected["history"]]
        # What doesn't fit is said, on either side.
        _, other = FedFlux._client_open(JSON.json(merge(options, Dict("lr" => 0.9))),
            own(1:9), nothing)
        rm(folder; recursive = true)
        _, server = open(Dict())
        _, messages, arrays = FedFlux._server_next(server)
        text, _, _, _ = FedFlux._client_answer(other, messages[1], arrays, UInt8[])
        @test occursin("option lr is 0.9 here, and 0.05", JSON.parse(text)["error"])
        for (name, value) in ("rules" => ["fedbuff"], "attack" => "sign_flip",
            "faults" => ["crash"], "normalise" => "federated",
            "aggregate" => "secure(drop=0.1)",
            "overselect" => 1.5, "finetune_epochs" => 1)
            text, _ = open(Dict(name => value))
            @test occursin("can't be used in a deployment", JSON.parse(text)["error"])
        end
    end
end

# One party that sends anything: it ends at most its own part, and the others' numbers are
# what they are without it.
using FedFlux: drop!, JSON, LocalDP, Reader, Writer, write_values!, writeword!
include(joinpath(@__DIR__, "..", "setup", "deployed.jl"))

const HOSTILE = 2
word(x::UInt32) = collect(reinterpret(UInt8, [x]))
with(v, at, bytes) = (v = copy(v); v[at] = bytes; v)

"""
Each field of a reply and what else it could hold: its position, and other values. `vectors`
begin after 45 bytes with a kind, a size and their values.
"""
function mutations(reply)
    fields = [("mark", 1:3, [zeros(UInt8, 3)]), ("version", 4:4, [[0x00], [0xff]]),
        ("stage", 5:5, [[b] for b = 0x00:0x09]),
        ("federation", 6:21, [zeros(UInt8, 16), rand(UInt8, 16)]),
        ("round", 22:25, word.(UInt32[0, 1, 3, typemax(UInt32)])),
        ("client", 26:29, word.(UInt32[0, 1, 3, 6, typemax(UInt32)])),
        ("loss", 30:37, [collect(reinterpret(UInt8, [l])) for l in (NaN, Inf, -1e300)]),
        ("seen", 38:45, [fill(0xff, 8), zeros(UInt8, 8), [fill(0xff, 5); zeros(UInt8, 3)]]),
        ("kind", 46:46, [[b] for b = 0x00:0x04]),
        ("size", 47:50, word.(UInt32[0, 1, 1<<30, typemax(UInt32)])),
        ("value", 51:54, [word(0x7fc00000), word(0x7f800000), word(0xff800000)])]
    changed = Pair{String,Vector{UInt8}}[]
    for (name, at, values) in fields, value in values
        last(at) <= length(reply) && push!(changed, name => with(reply, at, value))
    end
    kept = (0, 1, 28, 29, 45, length(reply) - 1)
    append!(changed, ["absent" => reply[1:n] for n in kept])
    append!(
        changed,
        ["more" => [reply; 0x00], "repeated" => [reply; reply],
            "large" => zeros(UInt8, 10^7)]
    )
    return filter(((_, bytes),) -> bytes != reply, changed)
end

"""
The parameters after two rounds of five clients of whom one sends in the second round what
`change` makes of its reply, or isn't there.
"""
function two_rounds(f, change; limits...)
    server, nodes = deployed(f; rounds = 2, clients_per_round = 5, limits...)
    exchange!(server, nodes;
        change = (e, k, reply) -> e.round == 2 && k == HOSTILE ? change(e, reply) : reply)
    return server
end
blamed(server) = [r.client for round in server.run_log.history for r in
                                                  [round.rejected; round.dropped]]

@testset "each field of a reply, mutated: $rules" for (rules, more) in
                                                      [((), (;)),
    (("scaffold", "topk(fraction=0.2)"), (;)), (("quantize(bits=8)",), (;)),
    ((), (; aggregate = Median()))]
    f = federated(model, rules; more...)
    without = two_rounds(f, (e, r) -> nothing).st.θ
    whole = two_rounds(f, (e, r) -> r).st.θ
    reply = Ref{Any}()
    two_rounds(f, (e, r) -> reply[] = r)
    for (name, bytes) in mutations(reply[])
        server = two_rounds(f, (e, r) -> bytes)
        # Its part is out, and every number that of the four; or it only said something else
        # of its work, or another value, in a form that is right.
        (; θ) = server.st
        @test blamed(server) == [HOSTILE] ? θ == without :
              isempty(blamed(server)) && (name in ("loss", "seen") ? θ == whole :
               name == "value" && all(isfinite, θ))
        @test isfinite(last(server.run_log.history).train_loss)
    end
end

@testset "what stands around each message of secure sums, mutated: $stage" for stage in
                                                                               ("keys",
    "shares", "masked", "unmask")
    f = federated(model, (); aggregate = SecureMean())
    at(change) = (e, r) -> e.stage == stage ? change(r) : r
    without = two_rounds(f, at(Returns(nothing))).st.θ
    whole, reply = two_rounds(f, at(identity)).st.θ, Ref{Any}()
    two_rounds(f, at(r -> reply[] = r))
    for (name, bytes) in mutations(reply[])
        name in ("loss", "seen", "kind", "size", "value") && continue     # of plain updates
        server = two_rounds(f, at(r -> bytes))
        @test unique(blamed(server)) == [HOSTILE]
        @test server.st.θ == without
    end
    @test (without == whole) == (stage == "unmask")     # by then its update is in the sum
end

@testset "one client's loss is not the round's" begin
    f = federated(model, ())
    honest = last(two_rounds(f, (e, r) -> r).run_log.history).train_loss
    nan = collect(reinterpret(UInt8, [NaN]))
    server = two_rounds(f, (e, r) -> with(r, 30:37, nan))
    @test isfinite(last(server.run_log.history).train_loss)
    @test isempty(blamed(server))
    # Who says that it has seen more than it can doesn't outweigh the others.
    server = two_rounds(f, (e, r) -> with(r, 38:45, [fill(0xff, 5); zeros(UInt8, 3)]))
    @test blamed(server) == [HOSTILE]
    @test abs(last(server.run_log.history).train_loss - honest) < 1
end

@testset "whatever goes wrong while a reply is read is that reply's fault" begin
    f = federated(model, ())
    server, nodes = deployed(f; clients_per_round = 5)
    e = next_exchange!(server)
    reason = FedFlux.take_or_reject(() -> [1][2], server, HOSTILE)
    @test occursin("can't be read: BoundsError", reason)
    for (k, m) in zip(e.clients, e.messages)
        k == HOSTILE && continue
        _, reply, _ = answer!(nodes[k], m, e.arrays, UInt8[])
        @test take_reply!(server, k, reply) === nothing
    end
    r = next_exchange!(server).record
    @test r.clients == 4 && only(r.rejected).client == HOSTILE
end

"The updates of the honest, and the step that the server takes, in one round of five."
function one_round(aggregate, send)
    f = federated(model, (); aggregate, weights = :uniform)
    server, nodes = deployed(f; rounds = 1, clients_per_round = 5)
    θ, honest = copy(server.st.θ), Vector{Float32}[]
    exchange!(
        server,
        nodes;
        change = function (e, k, reply)
            values = collect(reinterpret(Float32, reply[51:(50+4*f.layout.n)]))
            k == HOSTILE || push!(honest, values)
            k == HOSTILE || return reply
            sent = send(values)
            return with(reply, 51:(50+sizeof(sent)), collect(reinterpret(UInt8, sent)))
        end
    )
    return server.st.θ .- θ, reduce(hcat, honest), server
end

@testset "four honest and one hostile: $name" for (name, send) in [
    "a thousand times as far" => v -> 1000.0f0 .* v, "the other way" => v -> -10.0f0 .* v,
    "the largest numbers" => v -> fill(1.0f30, length(v)), "zeros" => v -> zero(v)]
    norms(X) = [sqrt(sum(abs2, Float64.(c))) for c in eachcol(X)]
    for aggregate in (Median(), TrimmedMean(0.2))
        Δ, X, _ = one_round(aggregate, send)
        low, high = minimum(X; dims = 2), maximum(X; dims = 2)
        @test all(low .- 1.0f-6 .<= Δ .<= high .+ 1.0f-6)
    end
    Δ, X, _ = one_round(Krum(1), send)
    @test any(c -> Δ ≈ c, eachcol(X)) || name == "zeros"
    # No further from the mean of the honest than 2(1 − α)/(1 − 2α) times the farthest of
    # them, with α = 1/5 hostile (Pillutla et al. 2022, section 2).
    Δ, X, _ = one_round(GeometricMedian(), send)
    mean_of_four = vec(sum(X; dims = 2)) ./ 4
    @test norms(Δ .- mean_of_four)[1] <= 2 * 0.8 / 0.6 * maximum(norms(X .- mean_of_four))
    Δ, X, _ = one_round(NormClipping(0.5), send)
    clipped = [c .* min(1, 0.5 / n) for (c, n) in zip(eachcol(X), norms(X))]
    @test norms(Δ .- sum(clipped) ./ 5)[1] <= 0.5 / 5 + 1e-5
end

@testset "a node refuses what a server must not ask: $what" for (what, change, reason) in [
    ("another client", m -> with(m, 26:29, word(UInt32(1))), "is for client 1"),
    ("an unknown stage", m -> with(m, 5:5, [0x09]), "unknown stage"),
    ("a stage of sums", m -> with(m, 5:5, [0x03]), "has begun no round")]
    f = federated(model, ())
    server, _ = deployed(f; clients_per_round = 5)
    p = parts[HOSTILE]
    node = ClientSession(_ -> (f, x[:, p], y[p]), Dict("lr" => "0.05"); number = HOSTILE)
    e = next_exchange!(server)
    m = e.messages[HOSTILE]
    @test occursin(reason, message(() -> answer!(node, change(m), e.arrays, UInt8[])))
    _, reply, _ = answer!(node, m, e.arrays, UInt8[])      # the right one is answered
    @test take_reply!(server, HOSTILE, reply) === nothing
end

"A message with other values than the server's."
function retold(m; changes...)
    values = FedFlux.read_values!(Reader(m[(FedFlux.HEADER_BYTES+1):end]))
    w = Writer()
    append!(w.bytes, m[1:FedFlux.HEADER_BYTES])
    write_values!(w, merge(values, changes))
    return FedFlux.take_bytes!(w)
end

@testset "each value of a server's message, mutated" begin
    f = federated(model, ("scaffold",))
    server, nodes = deployed(f; clients_per_round = 5)
    e = next_exchange!(server)
    m, node = e.messages[HOSTILE], nodes[HOSTILE]
    values = FedFlux.read_values!(Reader(m[(FedFlux.HEADER_BYTES+1):end]))
    _, expected, _ = answer!(node, m, e.arrays, UInt8[])
    others = (nothing, -1, 0, typemax(Int), 1.5, NaN, "text", (), Float32[], Float32[NaN],
        Dict("a" => 1), (; a = 1))
    refused = 0
    for name in keys(values), other in others
        changed = retold(m; NamedTuple{(name,)}((other,))...)
        text, reply, kept, _ = FedFlux._client_answer(node, changed, e.arrays, UInt8[])
        told = JSON.parse(text)
        refused += haskey(told, "error")
        haskey(told, "error") && @test isempty(reply) && isempty(kept)
        absent = retold(m)[1:end]
        @test answer!(node, absent, e.arrays, UInt8[])[2] == expected
    end
    @test refused > 60
    # One array in many places would be as many copies.
    w = Writer()
    text = """{"tuple":[$(join(fill("{\"bits\":\"a\"}", 10), ","))]}"""
    writeword!(w, UInt32(ncodeunits(text)))
    append!(w.bytes, codeunits(text))
    append!(w.bytes, FedFlux.write_tensors(Dict{String,Array}("a" => fill(true, 1000))))
    @test occursin("used twice", message(() -> FedFlux.read_values!(Reader(w.bytes))))
end

@testset "a node gives one answer in a round that holds noise or masks: $rules" for (
    rules,
    more
) in
                                                                                    [
    ((LocalDP(; clip = 1.0, noise_multiplier = 5.0),), (;)),
    ((DPSGD(; clip = 1.0, noise_multiplier = 1.0),), (;)),
    ((), (; aggregate = SecureMean()))]
    f = federated(model, rules; weights = :uniform, more...)
    server, nodes = deployed(f; clients_per_round = 5)
    e = next_exchange!(server)
    node, m = nodes[HOSTILE], e.messages[HOSTILE]
    facts, reply, kept = answer!(node, m, e.arrays, UInt8[])
    @test facts.once
    for _ = 1:20
        @test occursin("another answer", message(() -> answer!(node, m, e.arrays, kept)))
    end
    other = [a .+ 1.0f-3 for a in e.arrays]
    @test occursin("another answer", message(() -> answer!(node, m, other, kept)))
    # A node that was started anew knows it from what it kept.
    p = parts[HOSTILE]
    anew = ClientSession(_ -> (f, x[:, p], y[p]), Dict("lr" => "0.05"); rounds = 5)
    @test occursin("another answer", message(() -> answer!(anew, m, e.arrays, kept)))
    # Rounds before those that the server can go back to are closed.
    fifth = with(retold(m; saved = 4), 22:25, word(UInt32(5)))
    _, _, kept = answer!(anew, fifth, e.arrays, kept)
    third = with(m, 22:25, word(UInt32(3)))
    @test occursin("would not go back", message(() -> answer!(anew, third, e.arrays, kept)))
    # Nor are there more rounds than the node was told.
    sixth = with(m, 22:25, word(UInt32(6)))
    @test occursin("knows of 5", message(() -> answer!(anew, sixth, e.arrays, kept)))
end

@testset "without noise a server may ask again, as after a restart" begin
    f = federated(model, ("scaffold",))
    server, nodes = deployed(f; clients_per_round = 5)
    e = next_exchange!(server)
    facts, reply, kept = answer!(nodes[1], e.messages[1], e.arrays, UInt8[])
    @test !facts.once
    @test answer!(nodes[1], e.messages[1], e.arrays, kept)[2] == reply
end

@testset "what a client says of itself is a number that can be" begin
    options = Dict{String,Any}("rounds" => 1, "model" => "softmax_regression")
    good = Dict{String,Any}("samples" => 9, "outputs" => 10, "input" => [8, 8, 1],
        "target" => [])
    function opened(change, more = Dict(), data = nothing)
        facts = [Dict{String,Any}("client" => k, good...) for k = 1:3]
        merge!(facts[2], change)
        text, server = FedFlux._server_open(JSON.json(merge(options, more)),
            JSON.json(facts), data, nothing, nothing)
        server === nothing || FedFlux.close!(server)
        return get(JSON.parse(text), "error", nothing)
    end
    @test opened(Dict()) === nothing
    for (name, values) in
        ("samples" => (0, -1, 10^15, typemax(Int), 1.5, "many", nothing),
            "outputs" => (-1, 10^7, "ten", [10])),
        value in values

        @test occursin("client 2 says that its number of $name is",
            something(opened(Dict(name => value)), "nothing"))
    end
    @test occursin("differ", opened(Dict("input" => [9, 8, 1])))
    for aggregate in ("geometric_median", "norm_clipping")
        asked = Dict("aggregate" => aggregate)
        @test occursin("set weights=uniform", opened(Dict(), asked))
        @test opened(Dict(), merge(asked, Dict("weights" => "uniform"))) === nothing
    end
end

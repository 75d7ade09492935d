using LinearAlgebra: svdvals
using FedFlux: Encoded, Layout, Masked, Reader, Slot, Update, WorkerPool, Writer
using FedFlux: check_all_read, client!, compress, decoded, largest, server!, take_bytes!
using FedFlux: readbits!, readgamma!, readindices!, readvarint!
using FedFlux: varintsize, wire_bytes, writebits!, writegamma!, writeindices!, writevarint!

# All compressors, and those that are right in expectation.
const COMPRESSORS = [TopK(0.05), TopK(1.0), RandK(0.1), RandK(0.1; feedback = false),
    Quantize(8), Quantize(4), Quantize(2; bucket = 7), QSGD(4),
    QSGD(300; bucket = 33), SignSGD(), SignSGD(; bucket = 10), Ternary(),
    Ternary(; bucket = 9), PowerSGD(1), PowerSGD(2),
    CountSketch(5, 60, 20)]
const UNBIASED = [RandK(0.1; feedback = false), Quantize(8), Quantize(4),
    Quantize(2; bucket = 7), QSGD(4), QSGD(300; bucket = 33), Ternary(),
    Ternary(; bucket = 9)]
# Those whose error is smaller than what they send, as error feedback requires.
const CONTRACTIONS = [TopK(0.05), RandK(0.1), Quantize(8), Quantize(4), Quantize(2),
    SignSGD(), PowerSGD(1)]

matrices = Layout(
    [Slot("w", (20, 30), 1:600), Slot("b", (20,), 601:620),
        Slot("k", (3, 3, 4, 8), 621:908)], 908)
sample(n; seed = 1) = randn(Xoshiro(seed), Float32, n)
roundtrip(c, v; seed = 1, layout = Layout(length(v))) =
    decode(c, encode(c, v; rng = Stream(seed), layout), length(v); layout)

@testset "the largest magnitudes" begin
    @test largest(Float32[3, -5, 1, 5], 2) == [2, 4]
    @test largest(Float32[1, 1, 1, 1], 3) == [1, 2, 3]
    @test largest(Float32[0, -0.0, 1.0f-45, -Inf, NaN], 3) == [3, 4, 5]
    @test largest(Float32[], 0) == []
    for n in (1, 10, 1000), trial = 1:30
        v =
            trial % 3 == 0 ? Float32.(rand(Xoshiro(trial), -3:3, n)) :
            exp.(10 .* sample(n; seed = trial))
        k = rand(Xoshiro(trial), 0:n)
        @test largest(v, k) == sort(partialsortperm(abs.(v), 1:k; rev = true))
    end
    v = sample(1_000_000)
    largest(v, 10)
    @test (@allocated largest(v, 10)) < 20_000
end

@testset "varints, bits and gamma codes" begin
    w = Writer()
    numbers = [0, 1, 127, 128, 300, 2^20, 2^32 - 1]
    foreach(x -> writevarint!(w, x), numbers)
    # LEB128
    @test w.bytes[1:3] == [0x00, 0x01, 0x7f]
    @test w.bytes[4:5] == [0x80, 0x01] && w.bytes[6:7] == [0xac, 0x02]
    @test length(w.bytes) == sum(varintsize, numbers)
    r = Reader(w.bytes)
    @test [readvarint!(r, 2^32, "x") for _ in numbers] == numbers
    w = Writer()
    foreach(x -> writegamma!(w, UInt64(x)), [1, 2, 3, 4, 9])
    # 1 010 011 00100 0001100, from the lowest bit on
    @test take_bytes!(w) == [0x65, 0x82, 0x01]
    r = Reader(w.bytes)
    @test [Int(readgamma!(r, UInt64(9), "x")) for _ = 1:5] == [1, 2, 3, 4, 9]
    w = Writer()
    fields = [(rand(Xoshiro(i), UInt64) & (UInt64(1) << (i % 57) - 1), i % 57)
     for i = 1:200]
    foreach(f -> writebits!(w, f...), fields)
    r = Reader(take_bytes!(w))
    @test all(readbits!(r, n, "x") == x for (x, n) in fields)
    @test check_all_read(r)
end

@testset "indices are sent as gaps or as a bitmap, whichever is smaller" begin
    for n in (1, 8, 9, 1000), part in (0.0, 0.01, 0.3, 1.0)
        indices = findall(<(part), rand(Xoshiro(n), n))
        w = Writer()
        writeindices!(w, indices, n)
        @test readindices!(Reader(w.bytes), n) == indices
        @test length(w.bytes) <= 3 + min(cld(n, 8), 2 * length(indices))
    end
end

@testset "decode(encode(v)) $c" for c in COMPRESSORS
    for n in (0, 1, 2, 5, 500, 1537)
        @test length(roundtrip(c, sample(n))) == n
        c isa CountSketch || @test all(iszero, roundtrip(c, zeros(Float32, n)))
        c isa CountSketch || @test all(isfinite, roundtrip(c, 1.0f30 .* sample(n)))
    end
    v = sample(908)
    bytes = encode(c, v; rng = Stream(3), layout = matrices)
    # all randomness comes from rng
    @test bytes == encode(c, v; rng = Stream(3), layout = matrices)
    @test length(bytes) < 4 * 908 || c == TopK(1.0)
end

@testset "each keeps the values that its paper says" begin
    v = sample(2000)
    top = partialsortperm(abs.(v), 1:100; rev = true)
    @test roundtrip(TopK(0.05), v)[top] == v[top]
    @test count(!iszero, roundtrip(TopK(0.05), v)) == 100
    r = roundtrip(RandK(0.1), v)
    @test count(!iszero, r) == 200 && all(r[i] in (0, v[i]) for i in eachindex(v))
    for bits in (2, 4, 8)
        step = [2 * maximum(abs, b) / (2^bits - 1) for b in Iterators.partition(v, 512)]
        lost = roundtrip(Quantize(bits), v) .- v
        errors = [maximum(abs, b) for b in Iterators.partition(lost, 512)]
        @test all(errors .<= step .* 1.001)
    end
    q = roundtrip(QSGD(4), v)
    for b in Iterators.partition(1:2000, 512)
        numbers = 4 .* abs.(q[b]) ./ sqrt(sum(abs2, v[b]))
        @test numbers ≈ round.(numbers) atol = 1e-4
        @test all(sign.(q[b]) .* sign.(v[b]) .>= 0)
    end
    s = roundtrip(SignSGD(), v)
    @test s[1:512] ≈ sign.(v[1:512]) .* mean(abs, v[1:512])
    t = roundtrip(Ternary(), v)
    @test all(in((0, maximum(abs, v[1:512]))), abs.(t[1:512]))
    # PowerSGD(2) reproduces a matrix of rank 2; one of full rank it approximates nearly as
    # well as is possible (Eckart and Young)
    layout = Layout([Slot("w", (40, 50), 1:2000)], 2000)
    exact = vec(randn(Xoshiro(1), Float32, 40, 2) * randn(Xoshiro(2), Float32, 2, 50))
    @test roundtrip(PowerSGD(2), exact; layout) ≈ exact rtol = 1e-4
    best = sqrt(sum(abs2, svdvals(reshape(v, 40, 50))[3:end]))
    near = roundtrip(PowerSGD(2; iterations = 30), v; layout)
    @test best <= sqrt(sum(abs2, near .- v)) <= 1.02best
    # a sketch finds the heavy hitters
    heavy = 0.01f0 .* v
    heavy[[7, 700, 1999]] .= (5, -7, 9)
    found = roundtrip(CountSketch(5, 200, 3), heavy)
    @test findall(!iszero, found) == [7, 700, 1999]
    @test found[[7, 700, 1999]] ≈ [5, -7, 9] atol = 0.1
end

@testset "right in expectation: $c" for c in UNBIASED
    v = sample(120)
    trials = 4000
    sum_, squares = zeros(120), zeros(120)
    for t = 1:trials
        d = roundtrip(c, v; seed = t)
        sum_ .+= d
        squares .+= d .^ 2
    end
    average = sum_ ./ trials
    deviation = sqrt.(max.(squares ./ trials .- average .^ 2, 0) ./ trials)
    @test all(abs.(average .- v) .<= 5 .* deviation .+ 1e-5)
end

@testset "QSGD never sends more than its levels: $levels, $bucket" for levels in
                                                                       (1, 4, 65535, 65536),
    bucket in (1, 2, 512)
    # The norm of each bucket is the magnitude of one of its values: it is sent as it is.
    n = 4096
    v = zeros(Float32, n)
    v[1:bucket:n] .= sample(cld(n, bucket))
    for seed = 1:8
        @test roundtrip(QSGD(levels; bucket), v; seed) == v
    end
    # Right in expectation, beside values that are the norm.
    v = sample(96)
    v[1:8] .= (5, 0, -5, 0, 0, 3, 0, -3)
    trials = 2000
    decoded = [Float64.(roundtrip(QSGD(levels; bucket), v; seed)) for seed = 1:trials]
    average = mean(decoded)
    deviation = sqrt.(mean(d -> (d .- average) .^ 2, decoded) ./ trials)
    # A rare level may not be drawn at all.
    rare =
        [sqrt(sum(abs2, v[b])) for b in Iterators.partition(1:96, bucket) for _ in b] ./
        levels .* (5 / trials)
    @test all(abs.(average .- v) .<= 5 .* deviation .+ rare .+ 1e-6 .* abs.(v))
end

@testset "sizes" begin
    v = sample(100_000)
    size_of(c) = length(encode(c, v))
    @test size_of(TopK(0.01)) < 4 * 100_000 / 70
    @test size_of(RandK(0.01)) == 8 + 4 * 1000
    @test size_of(Quantize(4)) == 4 * 196 + 50_000
    @test size_of(SignSGD()) == 4 * 196 + 12_500
    @test size_of(Ternary()) == 4 * 196 + 20_000
    @test size_of(QSGD(4)) < 4 * 196 + 25_000
    @test size_of(CountSketch(5, 60, 20)) == 4 * 300
    bytes = encode(PowerSGD(2), sample(908); layout = matrices)
    @test length(bytes) == 4 * (2 * (20 + 30) + 20 + 2 * (8 + 36))
end

@testset "malformed bytes are refused: $c" for c in COMPRESSORS
    n = 300
    layout = Layout([Slot("w", (10, 20), 1:200), Slot("b", (100,), 201:300)], n)
    bytes = encode(c, sample(n); layout)
    refused(b) =
        occursin("malformed encoded update", message(() -> decode(c, b, n; layout)))
    @test all(k -> refused(bytes[1:k]), 0:(length(bytes)-1))
    @test refused([bytes; 0x00])
    @test occursin("n is -1", message(() -> decode(c, bytes, -1)))
    # Flipped bits and random bytes give a vector of the right length or a FedFluxError, and
    # take no more memory than n values need.
    survives(b) =
        try
            length(decode(c, b, n; layout)) == n
        catch err
            err isa FedFluxError || rethrow()
            true
        end
    rng = Xoshiro(5)
    for _ = 1:500
        b = copy(bytes)
        for _ = 1:rand(rng, 1:4)
            b[rand(rng, eachindex(b))] ⊻= 0x01 << rand(rng, 0:7)
        end
        @test survives(b)
        @test survives(rand(rng, UInt8, rand(rng, 0:2length(bytes))))
    end
    flood = fill(0xff, 200)
    survives(flood)
    @test (@allocated survives(flood)) < 100_000
end

@testset "an impossible number of indices takes no memory" begin
    w = Writer()
    writevarint!(w, 2^30)
    bytes = [w.bytes; 0x00; 0x01]
    read(b) = message(() -> readindices!(Reader(b), 2^31))
    read(bytes)
    @test occursin("malformed", read(bytes)) && (@allocated read(bytes)) < 100_000
end

@testset "settings are checked" begin
    @test occursin("fraction of topk is 0", message(() -> TopK(0)))
    @test occursin("bits of quantize is 3", message(() -> Quantize(3)))
    @test occursin("rank of powersgd", message(() -> PowerSGD(0)))
    @test occursin("download is a sketch", message(() -> Download(CountSketch(5, 10, 3))))
    @test FedFlux.build("rule", "topk(fraction=0.5)") == TopK(0.5)
    names = ("topk", "randk", "quantize", "qsgd", "sign", "ternary", "powersgd", "sketch")
    @test all(name -> FedFlux.build("rule", name) isa Compressor, names)
end

@testset "sent values + residual = sum of the updates: $c" for c in CONTRACTIONS
    total, sent, residual = zeros(Float32, 908), zeros(Float32, 908), nothing
    for t = 1:20
        u = sample(908; seed = t)
        encoded, residual = compress(c, copy(u), residual, Stream(t), matrices)
        @test encoded isa Encoded && wire_bytes(encoded) == length(encoded.bytes)
        @test decoded(encoded) == encoded
        total .+= u
        sent .+= encoded
    end
    @test sent .+ residual ≈ total rtol = 1e-4
    # Each round sends a part of everything, so the residual does not grow.
    settled = sqrt(sum(abs2, residual))
    for t = 21:200
        _, residual = compress(c, sample(908; seed = t), residual, Stream(t), matrices)
    end
    @test sqrt(sum(abs2, residual)) < 30 * max(settled, 1)
end

@testset "of a masked vector only the kept values are encoded: $c" for c in CONTRACTIONS
    v = sample(908)
    keep = collect(2:3:908)
    pruned = setdiff(1:908, keep)
    encoded, residual = compress(c, Masked(v, keep), nothing, Stream(1), matrices)
    @test encoded[pruned] == v[pruned] && all(iszero, residual[pruned])
    @test encoded .+ residual ≈ v rtol = 1e-5
    whole = first(compress(c, v, nothing, Stream(1), matrices))
    c isa PowerSGD || @test wire_bytes(encoded) < wire_bytes(whole)
    @test wire_bytes(Masked(v, keep)) == 4 * length(keep)
end

@testset "with error feedback quadratic clients reach FedAvg's optimum: $c" for c in
                                                                                [
    TopK(0.1),
    RandK(0.5),
    Quantize(4),
    Quantize(2),
    SignSGD(; bucket = 4),
    PowerSGD(1)
]

    clients, best = quadratic_clients(20, 4)
    fitted(rules...) =
        fit_quadratic(clients, 20; rounds = 400, optimizer = Descent(0.05f0), rules)
    plain, = fitted()
    sparse, st = fitted(c)
    @test plain ≈ best rtol = 1e-3
    @test sqrt(sum(abs2, sparse .- best)) < 0.15 * sqrt(sum(abs2, best))
    @test length(st.private[1][1].delta) == 20 || c isa PowerSGD
    # without error feedback top-k ends farther away
    c isa TopK || continue
    lossy, = fitted(TopK(0.1; feedback = false))
    @test sum(abs2, sparse .- best) < sum(abs2, lossy .- best)
end

@testset "the history counts encoded bytes" begin
    clients, _ = quadratic_clients(20, 4)
    bytes(rules; n = 4, rounds = 3) = begin
        f = Federated(Point(zeros(Float32, 20)); loss = mean_of_outputs, batchsize = 1,
            rules, trainer = :zygote)
        pool = WorkerPool(f, clients)
        st = State(f, pool)
        _, history, _ = fit!(f, st, clients; rounds, clients_per_round = n, pool)
        [r.bytes_up for r in history], [r.bytes_down for r in history]
    end
    @test bytes(()) == ([320, 320, 320], [320, 320, 320])
    @test bytes((Quantize(8),)) == (fill(4 * 24, 3), fill(320, 3))
    @test bytes((TopK(0.1),)) == (fill(4 * (2 + 2 + 8), 3), fill(320, 3))
    up, down = bytes((Quantize(8), Download(Quantize(4))))
    @test up == fill(96, 3) && down == [320, 4 * 14, 4 * 14]
    # clients that missed rounds receive what they missed, but never more than the model
    _, down = bytes((Download(Quantize(8)),); n = 2, rounds = 8)
    @test all(d -> d % 2 == 0 && d <= 160, down) && down[1] == 160
    @test bytes((CountSketch(3, 4, 5),))[1] == fill(4 * 48, 3)
end

@testset "a compressed download reaches the optimum" begin
    clients, best = quadratic_clients(20, 4)
    for c in (TopK(0.1), Quantize(4))
        θ, st = fit_quadratic(clients, 20; rounds = 500, optimizer = Descent(0.05f0),
            rules = (Download(c),))
        @test sqrt(sum(abs2, θ .- best)) < 0.05 * sqrt(sum(abs2, best))
        @test length(st.shared[1].sizes) == 500
    end
end

@testset "an update that is not finite is not encoded and leaves the residual" begin
    ctx = (; rng = Stream(1), layout = Layout(4))
    finite = Float32[1, 0, 2, 3]
    for u in (Update(; delta = Float32[1, NaN, 2, 3]),
        Update(; delta = finite, stats = [Inf32]),
        Update(; delta = finite, metrics = (; work = [NaN32])))
        s = (; private = (; delta = ones(Float32, 4)))
        private, sent = client!(TopK(0.5), s, u, ctx)
        @test sent === u && private.delta == ones(4)
    end
end

@testset "all vectors are encoded, statistics and metrics are not" begin
    ctx = (; rng = Stream(1), layout = Layout(4))
    u = Update(; delta = Float32[1, 5, 2, 3], dc = Float32[9, 1, 1, 2],
        short = Float32[1, 2], stats = Float32[1, 2, 3, 4],
        metrics = (; work = Float32[4, 3, 2, 1]))
    private, sent = client!(TopK(0.25), (; private = (;)), u, ctx)
    @test sent.delta == [0, 5, 0, 0] && sent.dc == [9, 0, 0, 0]
    @test sent.short === u.short && sent.stats === u.stats
    @test sent.metrics.work === u.metrics.work
    # Only delta has a residual: a rule learns what was sent of its own vectors by `sent`.
    @test private == (; delta = Float32[1, 0, 2, 3])
    @test_throws FedFluxError sent.delta[1] = 3
end

@testset "in a run, by name or as objects" begin
    run(; model = "softmax_regression", kw...) =
        FedFlux.run(; dataset = "digits", model, rounds = 3, lr = 0.1, kw...)
    plain = run()
    named = run(rules = ["quantize(bits=8)"], download = "quantize(bits=8)")
    made = run(rules = Quantize(8), download = Quantize(8))
    @test named.params_sha256 == made.params_sha256 != plain.params_sha256
    @test abs(named.history[end].accuracy - plain.history[end].accuracy) < 0.01
    @test plain.history[end].bytes_up > 3.8 * named.history[end].bytes_up
    @test plain.history[end].bytes_down > 3.8 * named.history[end].bytes_down
    @test plain.small === nothing
    pruned = run(model = "mlp", hidden = [20],
        rules = ["prune_channels(fraction=0.5, stop=2)"])
    nparams(model) = length(FedFlux.flatten(model))
    @test nparams(pruned.small) < 0.6 * nparams(pruned.model)
    @test occursin("download is", message(() -> run(download = "prune")))
    @test_throws FedFluxError run(download = 3)
end

# Behind the compressors: looks at the aggregate before they decode it.
struct Tap <: Rule
    look::Any
end
FedFlux.chain_position(::Tap) = 11
FedFlux.server!(r::Tap, s, ū, ctx) = (r.look(s, ū); (s.shared, ū))

@testset "a sketch decodes what clients send, and keeps the rest for later" begin
    x, y = blobs(90)
    clients = Clients(x, y, [1:30, 31:60, 61:90])
    model = mlp(6, 3; hidden = (5,), rng = Stream(1, :init))
    c = CountSketch(3, 8, 20)             # few columns, so that many values share one
    total = zeros(Float32, 24)
    tap = Tap((s, ū) -> total .+= ū.sketch)
    f = Federated(model; rules = (FedPer(), c, tap), batchsize = 10, seed = 2,
        optimizer = Descent(0.1f0), trainer = :zygote, weights = :uniform)
    pool = WorkerPool(f, clients)
    st = State(f, pool)
    before = copy(st.θ)
    fit!(f, st, clients; rounds = 5, pool)
    moved = st.θ .- before
    head = 36:53
    @test all(iszero, moved[head]) && !all(iszero, moved)
    # All that clients sent is in the model, or in the error that comes next.
    @test st.shared[2] ≈ total .- FedFlux.table(c, moved) atol = 1e-5
end

@testset "rules with the weights of a round and rules that remember are refused" begin
    model = softmax_regression(4, 2)
    refusal(rules...) = message(() -> Federated(model; rules))
    for rule in (AFL(), QFFL())
        for c in (TopK(0.1), RandK(0.1), Quantize(4), SignSGD(), PowerSGD(1),
            CountSketch(3, 10, 5))
            @test occursin("has their weights", refusal(rule, c))
        end
        for c in (TopK(0.1; feedback = false), QSGD(4), Ternary(), Download(TopK(0.1)))
            @test Federated(model; rules = (rule, c)) isa Federated
        end
    end
    @test occursin("only the sum of sketches", refusal(FedDyn(), CountSketch(3, 10, 5)))
end

@testset "AFL through a compressor stays where AFL is" begin
    clients, _ = quadratic_clients(20, 4)
    worst(θ) =
        maximum(1:4) do k
            sum(clients.x[1:20, k] .* abs2.(θ .- clients.x[21:40, k])) / 2
        end
    fitted(rules...) =
        worst(
            fit_quadratic(clients, 20; rounds = 300, clients_per_round = 2, rules,
                optimizer = Descent(0.05f0))[1]
        )
    plain = fitted(AFL(lr = 0.05))
    for c in (TopK(0.3; feedback = false), QSGD(8), SignSGD(; bucket = 4, feedback = false))
        @test fitted(AFL(lr = 0.05), c) < 1.5 * plain
    end
end

@testset "sketches average like the updates that they stand for" begin
    c, ctx = CountSketch(5, 200, 3), (; θ = zeros(Float32, 2000), known = nothing)
    spikes(is, xs) = (v = zeros(Float32, 2000); v[is] .= xs; v)
    send(delta) = last(client!(c, (; private = nothing), Update(; delta), ctx))
    a, b = send(spikes([7, 700], [5, 3])), send(spikes([7, 1999], [1, -9]))
    @test wire_bytes(a) == 4 * 1000 && all(iszero, a.delta)
    ū = Update(; delta = decoded(a.delta), sketch = (a.sketch .+ b.sketch) ./ 2)
    error, u = server!(c, (; shared = zeros(Float32, 1000)), ū, ctx)
    @test findall(!iszero, u.delta) == [7, 700, 1999]
    @test u.delta[[7, 700, 1999]] ≈ [3, 1.5, -4.5]
    @test maximum(abs, error) < 1e-5
end

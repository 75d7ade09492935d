using FedFlux: Checkpoints, WorkerPool, engine, pack, unpack, fingerprint, flatten,
    global_model, checkpoint_rounds, load_checkpoint, restore,
    read_tensors, write_tensors, write_durably, json_path, arrays_path, JSON,
    FolderLock, release!

roundtrip(x) = (
    arrays = Dict{String,Array}();
    text = JSON.json(pack(x, "x", arrays));
    unpack(JSON.parse(text), read_tensors(write_tensors(arrays)))
)

@testset "states come back exactly, with their types" begin
    xs = (nothing, true, -3, 2^62, 0.1, -0.0, 1e300, 5e-324, Inf, NaN, 0.1f0, Float16(0.1),
        0x07, typemax(UInt64), "a \"quoted\" ü", :word, (), (;), (1, (2.0, "b")),
        (; a = 1, b = (; c = [1.0f0, NaN32, -0.0f0])), Float32[], [1 2; 3 4],
        rand(Float32, 2, 3, 4), [true, false], BitVector([1, 0, 1]),
        UInt8[1, 2], ["a", "b"], Any[1, "a", nothing], [(; client = 1, reason = "x")],
        Dict(3 => [1.0f0], 1 => Float32[]), Dict(:a => 1), fill(1.0f0))
    for x in xs
        y = roundtrip(x)
        @test isequal(x, y) && (x isa AbstractArray{Any} || typeof(x) == typeof(y))
    end
    values = reinterpret(Float64, rand(Xoshiro(1), UInt64, 1000))
    @test isequal(roundtrip(Tuple(values)), Tuple(values))
end

@testset "anything else is refused by name" begin
    @test occursin(
        "can't hold rule/2/f, a",
        message(() -> pack((1, (; f = sin)), "rule", Dict{String,Array}()))
    )
    @test occursin("Xoshiro", message(() -> pack(Xoshiro(1), "rule", Dict{String,Array}())))
end

@testset "safetensors: sizes and offsets are checked" begin
    bytes = write_tensors(Dict("b" => Float32[1 2; 3 4], "a" => UInt8[7]))
    @test read_tensors(bytes) == Dict("b" => Float32[1 2; 3 4], "a" => UInt8[7])
    n = only(reinterpret(UInt64, bytes[1:8]))
    header(s, data) =
        vcat(reinterpret(UInt8, [UInt64(ncodeunits(s))]), Vector{UInt8}(s), data)
    entry(
        dtype,
        shape,
        offsets
    ) = "{\"a\":{\"dtype\":\"$dtype\",\"shape\":$shape,\"data_offsets\":$offsets}}"
    @test read_tensors(header(entry("F32", "[1]", "[0,4]"), zeros(UInt8, 4))) ==
          Dict("a" => [0.0f0])
    @test read_tensors(header(entry("F32", "[]", "[0,4]"), zeros(UInt8, 4)))["a"] ==
          fill(0.0f0)
    for (text, data, words) in ((entry("F32", "[1]", "[0,4]"), 3, "shape and offsets"),
        (entry("F32", "[1]", "[0,4]"), 5, "gaps"),
        (entry("F32", "[2]", "[0,4]"), 4, "does not fit"),
        (entry("F31", "[1]", "[0,4]"), 4, "dtype"),
        (entry("F32", "[-1]", "[0,4]"), 4, "shape"),
        (entry("F32", "[$(2^61),4]", "[0,0]"), 0, "shape"),
        (entry("F32", "[$(big(2)^90),0]", "[0,0]"), 0, "shape"),
        (entry("F32", "[1]", "[4,0]"), 4, "offsets"),
        (entry("F32", "\"x\"", "[0,4]"), 4, "shape"), ("[]", 0, "no JSON object"),
        ("{", 0, "JSON"),
        ("{\"a\":3}", 0, "dtype"), (entry("BOOL", "[1]", "[0,1]"), 1, nothing))
        data = zeros(UInt8, data)
        words === nothing ?
        (@test read_tensors(header(text, data)) == Dict("a" => [false])) :
        (@test occursin(words, message(() -> read_tensors(header(text, data)))))
    end
    @test occursin(
        "boolean",
        message(() -> read_tensors(header(entry("BOOL", "[1]", "[0,1]"), UInt8[2])))
    )
    @test occursin("claims", message(() -> read_tensors(vcat(fill(0xff, 8), bytes[9:end]))))
    bytes2(offsets) = "{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":$offsets}"
    overlap = "{\"a\":$(bytes2("[0,2]")),\"b\":$(bytes2("[1,3]"))}"
    @test occursin("overlap", message(() -> read_tensors(header(overlap, zeros(UInt8, 3)))))
end

# A rule with state of every kind, on both sides, that changes what is learned.
struct Drift <: Rule end
FedFlux.init(::Drift, θ) =
    ((; mean = zero(θ), rounds = 0), (; own = zero(θ), seen = (0, "none")))
FedFlux.correct!(::Drift, s, g, w, ctx) = (g .+= 0.01f0 .* (s.private.own .- s.shared.mean))
FedFlux.client!(::Drift, s, u, ctx) = (
    (;
        own = 0.5f0 .* s.private.own .+ u.delta,
        seen = (s.private.seen[1] + 1, "round $(ctx.round)")
    ),
    u
)
FedFlux.server!(::Drift, s, ū, ctx) =
    ((; mean = 0.5f0 .* s.shared.mean .+ ū.delta, rounds = s.shared.rounds + 1), ū)

x, y = blobs(240)
clients = Clients(x, y, [k:(k+11) for k = 1:12:240])
dense(in, out) = Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)))
normed() = Federated(
    Chain(dense(6, 8), BatchNorm(8, relu), dense(8, 3));
    batchsize = 4,
    seed = 4,
    rules = (Drift(),),
    server = Optimisers.Adam(0.01)
)

function fitted(f, folder; rounds, resume = false, clients_per_round = 7, kw...)
    pool = WorkerPool(f, clients.x)
    st, progress =
        resume ? restore(load_checkpoint(folder), f, engine(pool)) :
        (State(f, pool), FedFlux.Progress())
    st, history, stopped =
        fit!(f, st, clients; rounds, clients_per_round, pool, test = (x, y), progress,
            checkpoints = Checkpoints(folder; kw...))
    return fingerprint(flatten(global_model(f, st, engine(pool)))), st, history
end

@testset "a resumed run goes on bit for bit, with all states and the history" begin
    mktempdir() do dir
        whole, st, history = fitted(normed(), joinpath(dir, "whole"); rounds = 6)
        fitted(normed(), joinpath(dir, "parts"); rounds = 2)
        fitted(normed(), joinpath(dir, "parts"); rounds = 5, resume = true)
        parts, st2, history2 =
            fitted(normed(), joinpath(dir, "parts"); rounds = 6, resume = true)
        @test parts == whole
        @test st2.θ == st.θ && st2.stats == st.stats && st2.shared == st.shared &&
              st2.private == st.private
        @test isequal(st2.server, st.server)
        figures(r) =
            (r.round, r.train_loss, r.test_loss, r.accuracy, r.client_accuracy, r.bytes_up)
        @test map(figures, history2) == map(figures, history)
        # Nothing left to do.
        again, = fitted(normed(), joinpath(dir, "parts"); rounds = 6, resume = true)
        @test again == whole
    end
end

@testset "the last k and the best are kept; what was cut short is swept away" begin
    mktempdir() do dir
        _, _, history = fitted(normed(), dir; rounds = 8, keep = 2)
        best = argmax([r.accuracy for r in history])
        @test checkpoint_rounds(dir) == sort(union([7, 8], best))
        @test length(readdir(dir)) == 2length(checkpoint_rounds(dir))
        write(joinpath(dir, ".round-000009.json.part"), "half")
        write(arrays_path(dir, 9), "half")
        write(joinpath(dir, "notes.txt"), "the user's own")
        fitted(normed(), dir; rounds = 8, resume = true)
        @test !ispath(arrays_path(dir, 9)) &&
              !ispath(joinpath(dir, ".round-000009.json.part")) &&
              ispath(joinpath(dir, "notes.txt"))
        mktempdir(
            d -> (
                fitted(normed(), d; rounds = 5, every = 2, keep = 9);
                @test checkpoint_rounds(d) == [0, 2, 4, 5]
            )
        )
    end
end

@testset "a damaged checkpoint is skipped for the one before, with a warning" begin
    mktempdir() do dir
        whole, = fitted(normed(), joinpath(dir, "whole"); rounds = 4)
        folder = joinpath(dir, "run")
        # Truncated.
        for (damage, newest) in
            ((p -> write(json_path(p, 3), read(json_path(p, 3))[1:(end÷2)]), 2),
            (p -> write(arrays_path(p, 3), ""), 2), (p -> rm(arrays_path(p, 3)), 2),
            # One bit.
            (
                p -> (
                    b = read(arrays_path(p, 3));
                    b[end-40] ⊻= 0x01;
                    write(arrays_path(p, 3), b)
                ),
                2
            ),
            (
                p -> write(
                    json_path(p, 3),
                    replace(read(json_path(p, 3), String), "\"round\":3" => "\"round\":2")
                ),
                2
            ),
            (p -> (write(json_path(p, 3), "x"); write(json_path(p, 2), "")), 1))
            rm(folder; force = true, recursive = true)
            fitted(normed(), folder; rounds = 3)
            damage(folder)
            warnings = String[]
            saved = load_checkpoint(folder; warn = w -> push!(warnings, w))
            @test saved.content["round"] == newest
            @test occursin("round 3 is skipped", warnings[1])
            @test fitted(normed(), folder; rounds = 4, resume = true)[1] == whole
        end
        foreach(r -> write(json_path(folder, r), "x"), checkpoint_rounds(folder))
        @test occursin(
            "every checkpoint",
            message(() -> load_checkpoint(folder; warn = Returns(nothing)))
        )
        @test load_checkpoint(joinpath(dir, "nowhere")) === nothing
    end
end

@testset "one byte changed anywhere is noticed" begin
    mktempdir() do dir
        fitted(normed(), dir; rounds = 1)
        rng = Xoshiro(3)
        for path in (json_path(dir, 1), arrays_path(dir, 1))
            good = read(path)
            for _ = 1:100
                bad = copy(good)
                bad[rand(rng, eachindex(bad))] ⊻= rand(rng, 0x01:0xff)
                write(path, rand(rng, Bool) ? bad : good[1:rand(rng, 0:(length(good)-1))])
                @test load_checkpoint(dir; warn = Returns(nothing)).content["round"] == 0
            end
            write(path, good)
        end
        @test load_checkpoint(dir).content["round"] == 1
    end
end

struct Hoard <: Rule end
FedFlux.init(::Hoard, θ) = (nothing, (; rng = Xoshiro(1)))

@testset "where nothing can be written or stored, the run says so before it trains" begin
    mktempdir() do dir
        @test occursin(
            "can't hold private/1/rng",
            message(
                () -> fitted(
                    Federated(softmax_regression(6, 3); rules = (Hoard(),)),
                    dir;
                    rounds = 1
                )
            )
        )
        write(joinpath(dir, "file"), "")
        @test occursin(
            "checkpoint: can't write",
            message(() -> fitted(normed(), joinpath(dir, "file", "sub"); rounds = 1))
        )
    end
end

@testset "a folder that can no longer be written is a warning, and the run goes on" begin
    mktempdir() do dir
        f = normed()
        pool = WorkerPool(f, clients.x)
        folder = joinpath(dir, "run")
        warnings = String[]
        spoil(r) = (
            r.round == 2 && (rm(folder; recursive = true); write(folder, "in the way"));
            false
        )
        st, history, stopped =
            fit!(f, State(f, engine(pool)), clients; rounds = 5, pool, test = (x, y),
                checkpoints = Checkpoints(folder), callback = spoil,
                warn = w -> push!(warnings, w))
        @test stopped == "rounds" && length(history) == 5
        @test length(warnings) == 1 && occursin("the run goes on", warnings[1])
    end
end

options(; kw...) = (;
    dataset = "digits",
    clients = 4,
    model = "softmax_regression",
    seed = 3,
    lr = 0.3,
    kw...
)

@testset "run: checkpoint and resume, with the same options or none" begin
    mktempdir() do dir
        whole = FedFlux.run(; options(rounds = 4)...)
        folder = joinpath(dir, "run")
        # Nothing there yet: from the beginning.
        @test FedFlux.run(; options(rounds = 2, resume = folder)...).resumed == 0
        @test occursin(
            "holds a run's checkpoints, up to round 2",
            message(() -> FedFlux.run(; options(checkpoint = folder)...))
        )
        r = FedFlux.run(; resume = folder, rounds = 4)
        @test r.resumed == 2 && r.params_sha256 == whole.params_sha256 &&
              length(r.history) == 4 && r.options.lr == 0.3
        r = FedFlux.run(; options(rounds = 4, resume = folder, threads = 1)...)
        @test r.resumed == 4 && r.params_sha256 == whole.params_sha256 &&
              r.stopped == "rounds" && r.options.rounds == 4
    end
end

@testset "run: a resume refuses what would change the numbers, by name" begin
    mktempdir() do dir
        FedFlux.run(; options(rounds = 1, checkpoint = dir)...)
        refused(; kw...) = message(() -> FedFlux.run(; resume = dir, kw...))
        @test occursin("option lr is 0.2, and the run in", refused(lr = 0.2))
        @test occursin("option seed is 4", refused(seed = 4))
        @test occursin("option model is", refused(model = "mlp"))
        xs, ys = rand(Xoshiro(1), Float32, 64, 100), rand(Xoshiro(1), 0:9, 100)
        @test occursin(
            "the data or its split changed",
            refused(dataset = Dataset(xs, ys, xs, ys))
        )
        @test occursin(
            "what is given as Julia objects changed",
            refused(rules = (Drift(),))
        )
        @test occursin(
            "Julia objects changed",
            refused(loss = (ŷ, y) -> CrossEntropy()(ŷ, y))
        )
        @test occursin("expected one folder", refused(checkpoint = joinpath(dir, "other")))
    end
end

@testset "one run at a time writes to a folder; a dead one holds nothing" begin
    mktempdir() do dir
        folder = joinpath(dir, "run")
        lock = FolderLock(folder)
        @test occursin(
            "another run writes to $folder (process $(getpid()) on",
            message(() -> FolderLock(folder))
        )
        release!(lock)
        release!(lock)
        release!(FolderLock(folder))
        @test startswith(read(joinpath(folder, ".lock"), String), "process $(getpid()) on")
        # A run that fails gives it back.
        bad = (; options(model = "lstm", checkpoint = folder)...)
        @test occursin("takes tokens", message(() -> FedFlux.run(; bad...)))
        # Two processes.
        code = """
            using FedFlux
            FedFlux.run(dataset = "digits", clients = 4, model = "softmax_regression",
                seed = 3, lr = 0.3, rounds = 10^6, checkpoint = $(repr(folder)))
            """
        project = Base.active_project()
        julia = Base.julia_cmd()
        other =
            Base.run(`$julia --startup-file=no --project=$project -e $code`; wait = false)
        try
            # Early checkpoints are removed again: one may be there for a moment only.
            begun() = maximum(checkpoint_rounds(folder); init = 0) >= 2
            timedwait(() -> begun() || process_exited(other), 300)
            @test process_running(other)
            why = message(() -> FedFlux.run(; resume = folder, rounds = 3))
            @test occursin(
                "another run writes to $folder (process $(getpid(other)) on",
                why
            )
            # Readers need no lock.
            @test load_checkpoint(folder).content["round"] > 0
            @test FedFlux.recorded_options(folder)["lr"] == 0.3
        finally
            kill(other, Base.SIGKILL)
            wait(other)
        end
        rounds = last(checkpoint_rounds(folder)) + 1
        r = FedFlux.run(; resume = folder, rounds)
        @test r.resumed == rounds - 1 && length(r.history) == rounds
        whole = FedFlux.run(; options(; rounds)...)
        @test r.params_sha256 == whole.params_sha256
        @test isfile(joinpath(folder, ".lock"))
        @test !any(endswith(".part"), readdir(folder))
    end
end

const STACKS = [
    "FedBuff" => (;
        rules = "fedbuff(concurrency=4)",
        clients_per_round = 2,
        weights = "uniform"
    ),
    "SCAFFOLD, top-k" =>
        (; rules = ["scaffold", "topk(fraction=0.05)"], clients_per_round = 3),
    "Ditto, 4 bits, FedAdam, download" =>
        (; rules = ["ditto", "quantize(bits=4)"], download = "topk(fraction=0.1)",
            server = "fedadam", clients_per_round = 3),
    "FedDyn, sketch" => (; rules = ["feddyn", "sketch(rows=5, cols=200, k=50)"]),
    "AFL" => (; rules = "afl"),
    "FedNova, centered clipping" =>
        (; rules = "fednova", aggregate = "centered_clipping(tau=1.0)"),
    "FedRep, pruning" => (;
        rules = ["fedrep", "prune(sparsity=0.5, stop=4)"],
        model = "mlp",
        hidden = [8]
    )]

@testset "stopped twice and resumed, the run is the same: $name" for (name, stack) in STACKS
    mktempdir() do dir
        folder = joinpath(dir, "run")
        given = (; options(clients = 6, batch_size = 20)..., stack...)
        whole = FedFlux.run(; given..., rounds = 6)
        FedFlux.run(; given..., rounds = 2, checkpoint = folder)
        FedFlux.run(; resume = folder, rounds = 4)
        last = FedFlux.run(; resume = folder, rounds = 6)
        @test last.resumed == 4
        @test last.params_sha256 == whole.params_sha256
    end
end

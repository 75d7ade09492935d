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

@testset "JSON that is nested too deeply is refused, whatever stands in texts" begin
    deep(n) = "["^n * "]"^n
    @test FedFlux.parse_json("it", deep(64)) isa Vector
    for text in (deep(65), "{\"a\":"^100_000, "["^10_000_000)
        why = message(() -> FedFlux.parse_json("it", text))
        @test occursin("it is nested deeper than 64", why)
    end
    quoted = JSON.json(["[[[[{{{\\\"[[["^100, "\\"])
    @test FedFlux.depth(codeunits(quoted)) == 1
    @test FedFlux.parse_json("it", quoted) == JSON.parse(quoted)
    header = Vector{UInt8}("{\"__metadata__\":" * deep(100_000) * "}")
    bytes = [reinterpret(UInt8, [UInt64(length(header))]); header]
    @test occursin("nested", message(() -> read_tensors(bytes)))
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
        @test length(readdir(dir)) == 2length(checkpoint_rounds(dir)) + 1
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
        for path in (json_path(dir, 1), arrays_path(dir, 1), FedFlux.history_path(dir))
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

@testset "history: appended, whole after any crash, and verified" begin
    mktempdir() do dir
        whole, _, history = fitted(normed(), joinpath(dir, "whole"); rounds = 6)
        folder = joinpath(dir, "run")
        fitted(normed(), folder; rounds = 3)
        path = FedFlux.history_path(folder)
        before = read(path)
        # What a killed run left behind the last round is written over.
        write(path, [before; codeunits("[\"half a rec")])
        resumed(folder; rounds = 6) = fitted(normed(), folder; rounds, resume = true)
        sha, _, again = resumed(folder)
        @test sha == whole && startswith(String(read(path)), String(before))
        @test isequal([r.test_loss for r in again], [r.test_loss for r in history])
        @test countlines(path) == 6
        # A checkpoint before the newest reads its own part.
        write(json_path(folder, 6), "x")
        saved = load_checkpoint(folder; warn = Returns(nothing))
        @test [r.round for r in saved.history] == 1:5
        @test fitted(normed(), folder; rounds = 6, resume = true)[1] == whole
        # A file that vanished during a run is written anew with the next round.
        f, lost = normed(), joinpath(dir, "lost")
        pool = WorkerPool(f, clients.x)
        fit!(f, State(f, pool), clients; rounds = 4, clients_per_round = 7, pool,
            test = (x, y), checkpoints = Checkpoints(lost; keep = 9),
            callback = r -> (r.round == 2 && rm(FedFlux.history_path(lost)); false))
        @test [r.round for r in load_checkpoint(lost).history] == 1:4
        # Of another run, or changed: an error that names it.
        for damage in (p -> rm(p), p -> write(p, read(p)[1:(end-1)]),
            p -> write(p, replace(read(p, String), "\n" => "\n\n"; count = 1)))
            mine = cp(lost, joinpath(mktempdir(), "run"))
            damage(FedFlux.history_path(mine))
            warnings = String[]
            @test length(load_checkpoint(mine; warn = w -> push!(warnings, w)).history) < 4
            @test occursin("history.jsonl is", first(warnings))
        end
    end
end

# A checkpoint as it was before the history had a file of its own.
function in_old_format(folder, round)
    saved = FedFlux.read_checkpoint(folder, round)
    content = filter(p -> first(p) != "sha256", saved.content)
    names = fieldnames(Record)
    content["format"] = 2
    content["history"] = Dict("fields" => collect(string.(names)),
        "rows" => FedFlux.pack_record.(saved.history))
    write(json_path(folder, round), FedFlux.sealed(JSON.json(content)))
end

@testset "checkpoints of the former format still load" begin
    mktempdir() do dir
        whole, _, history = fitted(normed(), joinpath(dir, "whole"); rounds = 5)
        old = joinpath(dir, "old")
        fitted(normed(), old; rounds = 3)
        foreach(round -> in_old_format(old, round), checkpoint_rounds(old))
        rm(FedFlux.history_path(old))
        sha, _, again = fitted(normed(), old; rounds = 5, resume = true)
        @test sha == whole
        @test [r.test_loss for r in again] == [r.test_loss for r in history]
        @test countlines(FedFlux.history_path(old)) == 5
        @test load_checkpoint(old).content["format"] == 3
        path = json_path(old, 5)
        text = replace(read(path, String)[(ncodeunits("{\"sha256\":\"\",")+65):end],
            "\"format\":3" => "\"format\":4")
        write(path, FedFlux.sealed("{" * text))
        warnings = String[]
        load_checkpoint(old; warn = w -> push!(warnings, w))
        @test occursin("has format 4; this FedFlux reads 2 and 3", only(warnings))
    end
end

@testset "a round's checkpoint costs the same whatever came before" begin
    mktempdir() do dir
        f = Federated(softmax_regression(6, 3); batchsize = 4)
        pool = WorkerPool(f, clients.x)
        st, history = State(f, pool), FedFlux.Record[]
        c = Checkpoints(
            dir;
            run = Dict{String,Any}("options" => FedFlux.plain_options(
                    FedFlux.Options()))
        )
        add!(round) = push!(
            history,
            FedFlux.Record(; round, train_loss = 1.0 / round,
                test_loss = 0.3, accuracy = 0.5, clients = 10, seconds_train = 0.1,
                seconds_aggregate = 0.2, bytes_up = 1000, bytes_down = 2000,
                cohort = collect(1:10))
        )
        # In bytes of memory and on disk, which no busy machine changes.
        function cost(round)
            add!(round)
            st.round, progress = round, FedFlux.Progress(history, 1.0)
            before = filesize(FedFlux.history_path(dir))
            memory = @allocated FedFlux.save_checkpoint(c, f, st, engine(pool), progress)
            grown = filesize(FedFlux.history_path(dir)) - before
            return memory, grown + filesize(json_path(dir, round))
        end
        early = [cost(round) for round = 1:20]
        foreach(add!, 21:10_000)
        late = [cost(round) for round = 10_001:10_020]
        @test median(first.(late[2:end])) < 1.2 * median(first.(early[2:end]))
        @test median(last.(late[2:end])) < 1.2 * median(last.(early[2:end]))
        @test length(load_checkpoint(dir).history) == 10_020
    end
end

"The process's mask of permissions."
umask() = (mask = ccall(:umask, Cint, (Cint,), 0); ccall(:umask, Cint, (Cint,), mask); mask)

@testset "only their user reads the checkpoints of a private run" begin
    Sys.isunix() && mktempdir() do dir
        f(rules...) = Federated(softmax_regression(6, 3); batchsize = 4, rules,
            weights = :uniform)
        mode(path) = filemode(path) & 0o777
        private, open = joinpath(dir, "private"), joinpath(dir, "open")
        for rule in (ClientDP(), DPFTRL(), LocalDP(), DPSGD())
            rm(private; force = true, recursive = true)
            fitted(f(rule), private; rounds = 2, clients_per_round = 20)
            @test mode(private) == 0o700
            @test all(p -> mode(p) == 0o600, readdir(private; join = true))
        end
        fitted(f(), open; rounds = 2)
        @test all(p -> mode(p) == 0o666 & ~umask(), readdir(open; join = true))
        # A folder that was there, and is locked; one in which others work.
        mkpath(joinpath(dir, "locked"))
        lock = FolderLock(joinpath(dir, "locked"))
        fitted(f(ClientDP()), joinpath(dir, "locked"); rounds = 1)
        release!(lock)
        @test mode(joinpath(dir, "locked")) == 0o700
        project = mkpath(joinpath(dir, "project"))
        write(joinpath(project, "notes.txt"), "ours")
        before = mode(project)
        fitted(f(ClientDP()), project; rounds = 1)
        @test mode(project) == before && mode(json_path(project, 1)) == 0o600
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
        # The reasons of two rounds name different files: one warning all the same, until
        # it works again.
        folder = joinpath(dir, "full")
        part(round) = joinpath(folder, ".round-$(lpad(round, 6, '0')).json.part", "x")
        block(r) = (r.round in (2, 3, 5) && mkpath(part(r.round + 1)); false)
        empty!(warnings)
        fit!(f, State(f, engine(pool)), clients; rounds = 7, pool, test = (x, y),
            checkpoints = Checkpoints(folder), callback = block,
            warn = w -> push!(warnings, w))
        @test length(warnings) == 2 && all(contains("the run goes on"), warnings)
        @test checkpoint_rounds(folder)[(end-2):end] == [2, 5, 7]
        @test [r.round for r in load_checkpoint(folder).history] == 1:7
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

"Change what a checkpoint says, with a right checksum."
function forged(change!, folder, round)
    path = json_path(folder, round)
    content = JSON.parse(read(path, String))
    delete!(content, "sha256")
    change!(content)
    write(path, FedFlux.sealed(JSON.json(content)))
end

@testset "a checkpoint of somebody else's starts no process and opens no file" begin
    mktempdir() do dir
        folder = joinpath(dir, "run")
        FedFlux.run(; options(rounds = 1, checkpoint = folder)...)
        hosts = joinpath(dir, "hosts.txt")
        write(hosts, "somewhere.example 2")
        forged(folder, 1) do content
            merge!(
                content["run"]["options"],
                Dict("machines" => hosts, "workers" => 3,
                    "data_dir" => dir, "checkpoint" => joinpath(dir, "other"))
            )
        end
        r = FedFlux.run(; resume = folder, rounds = 2)
        @test r.resumed == 1 && r.workers == 0
        @test (r.options.machines, r.options.workers, r.options.data_dir) ==
              (nothing, 0, nothing)
        @test !ispath(joinpath(dir, "other"))
        # No other option than those that the table names leaves the run.
        declared = FedFlux.DECLARED_OPTIONS
        leaves(d) = get(d, "outside", false) || haskey(d, "inside")
        @test sort([n for (n, d) in declared if leaves(d)]) == ["availability",
            "checkpoint", "data_dir", "dataset", "machines", "resume", "workers"]
        # Files have to be named again.
        npz, trace = joinpath(dir, "data.npz"), joinpath(dir, "trace.txt")
        NPZ.npzwrite(
            npz,
            Dict("x_train" => rand(Float32, 40, 5),
                "y_train" => rand(0:2, 40))
        )
        write(trace, "1111\n")
        files = (; dataset = npz, availability = "trace(path=\"$trace\")")
        for name in keys(files)
            mine = joinpath(dir, "of $name")
            given = merge(options(), files[(name,)])
            FedFlux.run(; given..., rounds = 1, checkpoint = mine)
            why = message(() -> FedFlux.run(; resume = mine, rounds = 2))
            @test occursin("has $name = ", why) && occursin("name it again", why)
            again = FedFlux.run(; resume = mine, rounds = 2, files[(name,)]...)
            @test again.resumed == 1 && again.options.lr == 0.3
        end
        for dataset in (" mnist", "mnist/../x", "/etc/passwd", "shakespeare:/etc/passwd")
            forged(c -> c["run"]["options"]["dataset"] = dataset, folder, 2)
            @test occursin("name it again", message(() -> FedFlux.run(; resume = folder)))
        end
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
            @test first(FedFlux.recorded_options(folder))["lr"] == 0.3
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
    "FedDyn, sign" => (; rules = ["feddyn", "sign"], clients_per_round = 3),
    "FedNova, sketch" => (; rules = ["fednova", "sketch(rows=5, cols=200, k=50)"]),
    "AFL" => (; rules = "afl"),
    "FedProx, centered clipping" =>
        (; rules = "fedprox", aggregate = "centered_clipping(tau=1.0)"),
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

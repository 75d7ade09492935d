using FedFlux: checkpoint_rounds, json_path, arrays_path, FolderLock, release!

include("../setup/checkpointed.jl")

@testset "the last k and the best are kept; what was cut short is swept away" begin
    mktempdir() do dir
        _, _, history = fitted(normed(), dir; rounds = 8, keep = 2)
        best = argmin([r.test_loss for r in history])
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

a_record(round) =
    FedFlux.Record(; round, train_loss = 1.0 / round, test_loss = 1.0 / round,
        clients = 10, seconds_train = 0.1, seconds_aggregate = 0.2, bytes_up = 1000,
        bytes_down = 2000, cohort = collect(1:10))

"Rounds in which nothing trains, so that only checkpoints take time."
function saving(folder; kw...)
    f = Federated(softmax_regression(6, 3); batchsize = 4)
    pool = WorkerPool(f, clients.x)
    st, c = State(f, pool), Checkpoints(folder; kw...)
    history = FedFlux.Record[]
    function save(round)
        st.round = round
        round == 0 || push!(history, a_record(round))
        progress = FedFlux.Progress(history, 1.0)
        return @allocated FedFlux.save_checkpoint(c, f, st, engine(pool), progress)
    end
    return c, history, save
end

@testset "rounds of a second force the disk once, and what is needed stays" begin
    mktempdir() do dir
        c, history, save = saving(dir)
        save(0)
        @test c.forced == 0
        c.forced_at = Inf                   # no second ends
        foreach(save, 1:40)
        # The newest that is on the disk stays, whatever a power cut takes of the others.
        @test c.forced == 0 && checkpoint_rounds(dir) == [0, 38, 39, 40]
        cut = cp(dir, joinpath(mktempdir(), "cut"))
        for round = 38:40, path in (json_path(cut, round), arrays_path(cut, round))
            write(path, rand(Bool) ? "" : zeros(UInt8, filesize(path)))
        end
        write(FedFlux.history_path(cut), "")
        @test load_checkpoint(cut; warn = Returns(nothing)).content["round"] == 0
        # A second is over.
        c.forced_at = -Inf
        save(41)
        @test c.forced == 41 && checkpoint_rounds(dir) == [39, 40, 41]
        c.forced_at = Inf
        save(42)
        @test c.forced == 41
        # The end of a run waits for no second.
        FedFlux.end_checkpoints(c, history, error)
        @test c.forced == 42 && checkpoint_rounds(dir) == [40, 41, 42]
    end
end

@testset "whatever ends a run, its newest checkpoint is on the disk" begin
    mktempdir() do dir
        f = normed()
        pool = WorkerPool(f, clients.x)
        for (n, ending) in enumerate((Returns(true), r -> throw(InterruptException())))
            c = Checkpoints(joinpath(dir, "run $n"))
            callback(r) = r.round == 3 && ending(r)
            try
                fit!(f, State(f, pool), clients; rounds = 9, clients_per_round = 7, pool,
                    checkpoints = c, callback)
            catch err
                err isa InterruptException || rethrow()
            end
            @test c.forced == 3 == last(checkpoint_rounds(c.folder))
        end
    end
end

@testset "a round's checkpoint costs the same whatever came before" begin
    mktempdir() do dir
        run = Dict{String,Any}("options" => FedFlux.plain_options(FedFlux.Options()))
        _, history, save = saving(dir; run)
        # In bytes of memory and on disk, which no busy machine changes.
        function cost(round)
            before = filesize(FedFlux.history_path(dir))
            memory = save(round)
            grown = filesize(FedFlux.history_path(dir)) - before
            return memory, grown + filesize(json_path(dir, round))
        end
        early = [cost(round) for round = 1:20]
        append!(history, a_record.(21:10_000))
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

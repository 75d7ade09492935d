using FedFlux: checkpoint_rounds, json_path, arrays_path, JSON

include("../setup/checkpointed.jl")

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

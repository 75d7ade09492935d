using FedFlux: json_path, JSON

include("../setup/checkpointed.jl")

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
            "what is given as objects changed",
            refused(rules = (Drift(),))
        )
        @test occursin(
            "given as objects changed",
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

using FedFlux: checkpoint_rounds, FolderLock, release!

include("../setup/checkpointed.jl")

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

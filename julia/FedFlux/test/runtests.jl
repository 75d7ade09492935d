using Test

# `runtests.jl NAME...` runs only these files.
const FILES = ["stream", "flat", "loss", "models", "engine", "fast", "data", "partition", "sample", "augment", "text", "aggregate",
               "robust", "rules",
               "algorithms", "contracts", "schedule", "personal", "compress", "prune", "rounds", "trouble", "checkpoint", "fuzz", "verbs",
               "options", "run", "docs", "architecture"]
const CHOSEN = isempty(ARGS) ? FILES : ARGS

# Each file in a module of its own: what one imports or defines is not there in the next.
function run_file(name)
    Core.eval(Main, Expr(:module, true, Symbol("test_", name), quote
        using FedFlux, Random, Statistics, Test
        using FedFlux: Flux, Optimisers      # as FedFlux has them: the project of a run names neither
        using .Flux, .Optimisers
        Random.seed!(1)      # Flux draws initial weights from the global generator, which would differ from run to run
        include(joinpath($(@__DIR__), "helpers.jl"))
        include(joinpath($(@__DIR__), $name * ".jl"))
    end))
end

@testset "FedFlux" begin
    @testset "$name" for name in CHOSEN
        run_file(name)
    end
end

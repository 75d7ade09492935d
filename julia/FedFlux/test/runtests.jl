using Test

# `runtests.jl NAME...` runs only these files.
const FILES = [
    "stream", "flat", "loss", "models", "engine", "fast", "data", "partition", "sample",
    "augment", "text", "aggregate", "ckks", "robust", "secagg", "secure", "noise",
    "distributed",
    "rules",
    "algorithms", "contracts", "optimum", "combinations", "mended", "schedule",
    "personal", "clients",
    "compress", "prune", "rounds", "trouble", "accountant", "clientdp", "dpftrl",
    "dpsgd", "audit", "checkpoint", "workers", "deployment", "fuzz", "verbs", "options",
    "run", "continue", "misuse", "predict", "extending", "start", "docs", "architecture"
]
const CHOSEN = isempty(ARGS) ? FILES : ARGS

# Each file in a module of its own: what one imports or defines is not there in the next.
# Flux draws initial weights from the global generator; a seed makes them the same in every
# run. Flux and Optimisers come from FedFlux: the project of a run names neither.
function run_file(name)
    code = quote
        using FedFlux, Random, Statistics, Test
        using FedFlux: Flux, Optimisers
        using .Flux, .Optimisers
        const NPZ = Base.require(FedFlux, :NPZ)
        Random.seed!(1)
        include(joinpath($(@__DIR__), "helpers.jl"))
        include(joinpath($(@__DIR__), $name * ".jl"))
    end
    Core.eval(Main, Expr(:module, true, Symbol("test_", name), code))
end

@testset verbose = true "FedFlux" begin
    @testset "$name" for name in CHOSEN
        seconds = @elapsed run_file(name)
        println(stderr, name, ": ", round(Int, seconds), " s")
    end
end

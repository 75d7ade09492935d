using FedFlux, Random, Statistics, Test
using FedFlux: Flux, Optimisers      # as FedFlux has them: the project of a run names neither
using .Flux, .Optimisers

include("helpers.jl")

# `runtests.jl NAME...` runs only these files.
const FILES = ["stream", "flat", "loss", "models", "engine", "fast", "data", "partition", "sample", "augment", "text", "aggregate",
               "robust", "rules",
               "algorithms", "contracts", "schedule", "personal", "compress", "prune", "rounds", "trouble", "checkpoint", "fuzz", "verbs",
               "options", "run", "docs"]
const CHOSEN = isempty(ARGS) ? FILES : ARGS

@testset "FedFlux" begin
    for name in CHOSEN
        file = joinpath(@__DIR__, "$name.jl")
        isfile(file) && @testset "$name" begin
            include(file)
        end
    end
end

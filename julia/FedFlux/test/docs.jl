# The lines of docs/algorithms.md run as they stand.
module Lines
using FedFlux
using FedFlux: Flux, Optimisers
using .Flux, .Optimisers
const quick = (; dataset = "digits", model = "mlp", hidden = [20], rounds = 2, clients = 4)
end

const PAGE = read(joinpath(@__DIR__, "..", "..", "..", "docs", "algorithms.md"), String)
lines = [m[1] for m in eachmatch(r"`(FedFlux\.run\(; quick.*?\))`", PAGE)]

@testset "docs/algorithms.md names every rule, server step and schedule" begin
    settings = """model = "mlp", hidden = [20], rounds = 2, clients = 4"""
    @test occursin("`quick = (; dataset = \"digits\", $settings)`", PAGE)
    files = readdir(joinpath(pkgdir(FedFlux), "src", "rules", "algorithms"))
    rules = setdiff(first.(splitext.(files)), ["privatearrays", "fedopt"])
    for name in [
        rules;
        collect(keys(FedFlux.SPECS["server"]));
        collect(keys(FedFlux.SPECS["schedule"]))
    ]
        @test any(line -> occursin(Regex("\"$name\\b"), line), lines)
    end
end

@testset "$line" for line in lines
    r = Base.include_string(Lines, line)
    @test r isa FedFlux.RunResult && length(r.history) == 2
end

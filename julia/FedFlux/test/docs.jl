# The lines of docs/algorithms.md and the examples of the package's README.md run as they
# stand.
module Lines
using FedFlux
using FedFlux: Flux, Optimisers
using .Flux, .Optimisers
const quick = (; dataset = "digits", model = "mlp", hidden = [20], rounds = 2, clients = 4)
end

const PAGE = read(joinpath(@__DIR__, "..", "..", "..", "docs", "algorithms.md"), String)
lines = [m[1] for m in eachmatch(r"`(FedFlux\.run\(; quick[^`]*\))`", PAGE)]

@testset "docs/algorithms.md names every rule, server step and schedule" begin
    settings = """model = "mlp", hidden = [20], rounds = 2, clients = 4"""
    @test occursin("`quick = (; dataset = \"digits\", $settings)`", PAGE)
    files = readdir(joinpath(pkgdir(FedFlux), "src", "rules", "algorithms"))
    helpers = ["privatearrays", "labelcounts", "fedopt", "serverdirection"]
    rules = setdiff(first.(splitext.(files)), helpers)
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

const README = read(joinpath(pkgdir(FedFlux), "README.md"), String)

"What the code of an example prints."
function printed(code)
    example = Module()
    Core.eval(example, :(using Base: include_string))
    return mktemp() do path, io
        redirect_stdout(() -> Base.include_string(example, code), io)
        close(io)
        read(path, String)
    end
end

@testset "README.md: $(first(split(code, '\n')))" for (code, output) in
                                                      eachmatch(
    r"```julia\n(using FedFlux.*?)```\n(?:\n```text\n(.*?)```)?"s, README)
    numbers(text) = parse.(Float64, (m.match for m in eachmatch(r"\d+\.\d+", text)))
    words(text) = replace(text, r"\d+\.\d+" => "")
    found, output = printed(code), something(output, "")
    @test words(found) == words(output)
    # Other processors may add in another order.
    @test numbers(found) ≈ numbers(output) atol = 0.03
end

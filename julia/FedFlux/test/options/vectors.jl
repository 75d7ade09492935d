# The core makes of options what Python makes of them, by one table of vectors.

using FedFlux: Options, parse_spec
using TOML

const VECTORS = TOML.parsefile(joinpath(@__DIR__, "vectors.toml"))

function check_error(vector, text)
    before, after = occursin(", got ", text) ? split(text, ", got "; limit = 2) : (text, "")
    if haskey(vector, "error")
        @test before == replace(vector["error"], "{none}" => "nothing")
    end
    if haskey(vector, "hint")
        hint = match(r"; (did you mean|a run|it is|use) .*$", after)
        @test (hint === nothing ? "" : hint.match) == vector["hint"]
    end
end

@testset "texts of specs: $(v["text"])" for v in VECTORS["spec"]
    if haskey(v, "name")
        name, parameters = parse_spec(v["kind"], v["text"])
        @test name == v["name"]
        @test all(parameters[Symbol(p)] == value for (p, value) in v["parameters"])
    else
        check_error(v, message(() -> parse_spec(v["kind"], v["text"])))
    end
end

@testset "values of options: $(v["name"])" for v in VECTORS["option"]
    given = Dict(v["name"] => v["given"])
    if haskey(v, "value")
        @test getfield(Options(given), Symbol(v["name"])) == v["value"]
    else
        check_error(v, message(() -> Options(given)))
    end
end

@testset "unknown options" begin
    for v in VECTORS["unknown"]
        @test message(() -> Options(Dict(v["name"] => 1))) == v["error"]
    end
end

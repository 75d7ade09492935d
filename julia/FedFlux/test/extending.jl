# docs/extending.md: the Julia blocks of each section, in order.

const PAGE = read(joinpath(@__DIR__, "..", "..", "..", "docs", "extending.md"), String)

const SECTIONS = filter(contains("```julia"), split(PAGE, "\n## ")[2:end])

@testset "$(first(split(section, '\n')))" for section in SECTIONS
    blocks = [m[1] for m in eachmatch(r"```julia\n(.*?)```"s, section)]
    user = Module()
    Core.eval(user, :(using Base: include_string))
    mktempdir() do dir
        Core.eval(user, :(include(name) = Base.include($user, joinpath($dir, name))))
        for code in blocks
            file = match(r"^# (\w+\.jl)\n", code)
            file === nothing ? Base.include_string(user, code) :
            write(joinpath(dir, file[1]), code)
        end
    end
    result = Base.invokelatest(getfield, user, :result)
    losses = [r.test_loss for r in result.history]
    @test length(losses) == 3 && losses[3] < losses[1]
end

# What a new process compiles before its first rounds end: what was compiled when the
# package was installed must be what a run meets.

"The methods of FedFlux that a new process compiles for `code`."
function compiled(code)
    julia = joinpath(Sys.BINDIR, Base.julia_exename())
    project = Base.active_project()
    return mktempdir() do dir
        trace = joinpath(dir, "trace")
        run(`$julia --project=$project --startup-file=no --trace-compile=$trace -e $code`)
        filter(contains("FedFlux."), readlines(trace))
    end
end

@testset "the first round of the named models, at several batch sizes" begin
    methods = compiled("""
        using FedFlux
        models = ("case_study_cnn", "mlp", "softmax_regression")
        for model in models, batch_size in (10, 32, 64)
            options = Dict{Symbol,Any}(:model => model, :batch_size => batch_size)
            FedFlux.run(; dataset = "digits", rounds = 1, local_steps = 1, options...)
        end
        """)
    @test length(methods) <= 5
end

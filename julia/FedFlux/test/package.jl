# FedFlux as a package that others install: Aqua's checks, if Aqua is installed beside it.

const PROJECT = FedFlux.TOML.parsefile(joinpath(pkgdir(FedFlux), "Project.toml"))

@testset "every package that Project.toml names has bounds for its versions" begin
    named = union(
        (keys(get(PROJECT, part, Dict())) for part in
                                                 ("deps", "weakdeps", "extras"))...
    )
    @test setdiff([named...; "julia"], keys(PROJECT["compat"])) == []
    @test PROJECT["version"] == string(pkgversion(FedFlux))
end

const AQUA_ID = Base.identify_package("Aqua")
const AQUA = AQUA_ID === nothing ? nothing : Base.require(AQUA_ID)

if AQUA === nothing
    @info "Aqua is not installed: what it checks of the package is skipped"
else
    # NPZ loads where a file of its kind is read. The check of persistent tasks takes a
    # minute, and no task outlives loading: workers start with a run.
    AQUA.test_all(FedFlux; stale_deps = (; ignore = [:NPZ]), persistent_tasks = false)
end

using Test

# `runtests.jl NAME...` runs these files. Without names most have a process of their own:
# an exception takes the longer the more a process has compiled, and tests throw many. Those
# that are given the same empty folder, by `runtests.jl --share=FOLDER`, share the files.
const FILES = [
    joinpath(folder, file) for (folder, _, files) in walkdir(@__DIR__) for
    file in files
    if endswith(file, ".jl") && file != "runtests.jl" && basename(folder) != "setup"
]
# Those that take minutes come first, so that two processes end at about the same time.
const LONGEST = ["clipped", "combinations", "audit", "equations", "prune"]
# These compile the same, and throw little: a process runs one after the other.
const TOGETHER = [["clipped", "fast_branches"]]
const PATHS = Dict(first(splitext(basename(path))) => path for path in FILES)
const SHARED = [chopprefix(a, "--share=") for a in ARGS if startswith(a, "--share=")]
const NAMES = filter(!startswith("--share="), ARGS)

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
        include(joinpath($(@__DIR__), "setup", "helpers.jl"))
        include($(PATHS[name]))
    end
    Core.eval(Main, Expr(:module, true, Symbol("test_", name), code))
end

function run_here(names)
    failed = filter(names) do name
        try
            @testset verbose = true "FedFlux" begin
                @testset "$name" begin
                    seconds = @elapsed run_file(name)
                    println(stderr, name, ": ", round(Int, seconds), " s")
                end
            end
            return false
        catch err
            err isa Test.TestSetException || rethrow()
            return true
        end
    end
    isempty(failed) || exit(1)
end

"Whether this process is the first to ask for a file: only one can make a folder."
function first_to_ask(name)
    isempty(SHARED) && return true
    try
        mkdir(joinpath(only(SHARED), name))
        return true
    catch err
        err isa Base.IOError && err.code == Base.UV_EEXIST || rethrow()
        return false
    end
end

function run_apart(groups)
    options = `--project=$(Base.active_project()) --threads=$(Threads.nthreads())`
    julia = `$(Base.julia_cmd()) $options --startup-file=no`
    failed = filter(groups) do names
        asked = first_to_ask(first(names))
        asked && !success(run(ignorestatus(`$julia $(@__FILE__) $names`)))
    end
    isempty(failed) && return
    println("failed: ", join(Iterators.flatten(failed), ", "))
    exit(1)
end

length(PATHS) == length(FILES) || error("two files of tests have the same name")
const SINGLE = setdiff(keys(PATHS), TOGETHER...)
const GROUPS = [TOGETHER; [[name] for name in sort!(collect(SINGLE))]]
in_order = sort(GROUPS; by = names -> !any(in(LONGEST), names))
isempty(NAMES) ? run_apart(in_order) : run_here(NAMES)

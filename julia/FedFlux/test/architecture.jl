# The rooms of src/ and the arrows between them, as docs/design.md draws them; every file
# uses only what stands before it; widths of lines, lengths of files.

const SRC = joinpath(pkgdir(FedFlux), "src")

"""
The rooms that a room may use. In the two largest rooms each folder, and each file beside
the folders, is a room of its own. Errors and texts are for all.
"""
const ARROWS = Dict(
    "errors" => [],
    "texts" => [],
    "options" => [],
    "random" => [],
    "privacy" => [],
    "models" => [],
    "engines" => ["random", "models"],
    "data" => ["options", "random", "models", "engines"],
    "updates" => ["models"],
    "rules" => ["options", "random", "privacy", "models", "updates"],
    "secagg" => ["random"],
    "aggregation" => ["options", "random", "models", "updates", "secagg"],
    "workers" => [],
    "federation/json" => [],
    "federation/compatibility" => ["models", "rules", "aggregation"],
    "federation/cohorts" => ["options", "random", "models", "data", "updates"],
    "federation/training" => ["random", "models", "data", "engines", "rules"],
    "federation/state" =>
        ["models", "engines", "rules", "aggregation", "federation/compatibility",
            "federation/cohorts", "federation/training"],
    "federation/client_round" =>
        ["random", "models", "engines", "data", "updates", "rules",
            "federation/training",
            "federation/state"],
    "federation/workers" =>
        ["workers", "models", "engines", "data", "updates", "rules",
            "federation/training", "federation/state", "federation/client_round"],
    "federation/guarantees" =>
        ["privacy", "models", "data", "updates", "rules", "aggregation",
            "federation/json", "federation/cohorts", "federation/training",
            "federation/state"],
    "federation/evaluation" =>
        ["random", "privacy", "models", "engines", "data", "rules",
            "federation/training", "federation/state", "federation/workers"],
    "federation/rounds" =>
        ["random", "models", "data", "updates", "rules", "aggregation",
            "federation/cohorts", "federation/training", "federation/state",
            "federation/client_round", "federation/workers", "federation/guarantees"],
    "federation/runs" =>
        ["random", "data", "aggregation", "federation/json", "federation/cohorts",
            "federation/training", "federation/state", "federation/workers",
            "federation/guarantees", "federation/evaluation", "federation/rounds"],
    "federation/audits" =>
        ["random", "privacy", "models", "data", "updates", "rules",
            "federation/cohorts", "federation/state", "federation/workers",
            "federation/guarantees", "federation/evaluation", "federation/runs"],
    "checkpoints" =>
        ["options", "models", "engines", "data", "rules", "federation/state",
            "federation/runs"],
    "deployment" =>
        ["models", "engines", "data", "updates", "rules", "aggregation", "secagg",
            "checkpoints", "federation/cohorts", "federation/state",
            "federation/client_round", "federation/workers", "federation/rounds",
            "federation/runs", "federation/training"],
    "interface/case_study" =>
        ["random", "models", "engines", "data", "updates", "aggregation",
            "federation/training", "federation/state"],
    "interface/own_objects" =>
        ["options", "models", "rules", "aggregation", "federation/cohorts"],
    "interface/metrics" => [],
    "interface/snapshot" =>
        ["options", "models", "data", "federation/state", "federation/workers",
            "federation/evaluation", "federation/runs"],
    "interface/result" =>
        ["options", "data", "federation/state", "federation/evaluation",
            "federation/runs"],
    "interface/runs" =>
        ["options", "random", "models", "data", "rules", "aggregation",
            "checkpoints", "deployment", "federation/cohorts", "federation/training",
            "federation/state", "federation/workers", "federation/guarantees",
            "federation/evaluation", "federation/runs", "interface/own_objects",
            "interface/metrics", "interface/snapshot", "interface/result"],
    "interface/results" =>
        ["options", "random", "models", "engines", "data", "rules", "checkpoints",
            "federation/json", "federation/state", "federation/evaluation",
            "federation/runs", "interface/own_objects",
            "interface/metrics", "interface/snapshot", "interface/result",
            "interface/runs"],
    "interface/comparison" =>
        ["options", "data", "aggregation", "checkpoints", "federation/json",
            "federation/training", "federation/workers", "federation/evaluation",
            "federation/runs", "interface/runs", "interface/results"],
    "interface/python" =>
        ["options", "random", "models", "updates", "rules", "aggregation",
            "federation/cohorts",
            "federation/workers", "interface/own_objects", "data", "deployment",
            "checkpoints", "federation/json",
            "federation/guarantees", "federation/runs", "federation/audits",
            "federation/rounds", "interface/snapshot", "interface/result",
            "interface/runs", "interface/results", "interface/comparison"],
    "interface/precompile" =>
        ["models", "engines", "updates", "aggregation", "interface/python"])

"The files that `path` includes, in order, each after those that it includes itself."
function included(path)
    found = String[]
    for m in eachmatch(r"^include\(\"(.*)\"\)"m, read(path, String))
        file = joinpath(dirname(path), m[1])
        append!(found, [included(file); file])
    end
    return found
end

const LARGE_ROOMS = ("federation", "interface")

function room(file)
    parts = splitpath(first(splitext(relpath(file, SRC))))
    return join(first(parts, first(parts) in LARGE_ROOMS ? 2 : 1), '/')
end

parsed(file) = Meta.parseall(read(file, String); filename = file)

"Call `f` with every expression in `x`."
function walk(f, x)
    x isa Expr || return
    f(x)
    foreach(a -> walk(f, a), x.args)
end

"The name that the left side of a definition gives: f(x), f(x)::T, f(x) where T, T{P} <: S."
defined_name(x::Symbol) = x
defined_name(x) = nothing
defined_name(x::Expr) =
    x.head in (:call, :where, :curly, :<:, :(::)) ? defined_name(first(x.args)) : nothing

"The names that a file defines at its top level."
function definitions(file)
    names = Set{Symbol}()
    add(x) = (name = defined_name(x); name === nothing || push!(names, name))
    function top(x)
        x isa Expr || return
        if x.head in (:toplevel, :block, :const)
            foreach(top, x.args)
        elseif x.head === :macrocall
            foreach(top, x.args[3:end])
        elseif x.head === :struct
            add(x.args[2])
        elseif x.head in (:function, :abstract, :macro, :(=))
            x.head === :(=) && x.args[1] isa Expr && x.args[1].head === :tuple ?
            foreach(add, x.args[1].args) : add(x.args[1])
        end
    end
    top(parsed(file))
    return names
end

"The names that a file uses as functions or types, without those it binds itself."
function uses(file)
    used, bound = Set{Symbol}(), Set{Symbol}()
    use(x) = x isa Symbol && push!(used, x)
    bind(x) = x isa Symbol ? push!(bound, x) : x isa Expr && foreach(bind, x.args)
    walk(parsed(file)) do x
        x.head === :call && use(first(x.args))
        x.head === :call && length(x.args) > 1 && x.args[1] === :isa && use(x.args[3])
        x.head in (:curly, :<:) && foreach(use, x.args)
        x.head === :(::) && use(last(x.args))
        x.head === :(.) && length(x.args) == 2 && x.args[2] isa Expr &&
            x.args[2].head === :tuple && use(first(x.args))        # f.(x)
        x.head === :(=) && x.args[1] isa Union{Symbol,Expr} && !is_call(x.args[1]) &&
            bind(x.args[1])
        x.head === :-> && bind(x.args[1])
        is_signature(x) && bind_arguments(bind, first(x.args))
    end
    bind_local_functions!(bound, parsed(file), 0)
    return setdiff(used, bound)
end

"Add the names of functions that are defined within others."
function bind_local_functions!(bound, x, depth)
    x isa Expr || return
    defines = is_signature(x)
    defines && depth > 0 && push!(bound, something(defined_name(first(x.args)), :_))
    foreach(a -> bind_local_functions!(bound, a, depth + defines), x.args)
end

is_call(x) =
    x isa Expr && (x.head === :call || x.head in (:where, :(::)) && is_call(x.args[1]))
is_signature(x) = x.head in (:function, :(=)) && is_call(first(x.args))

function bind_arguments(bind, x)
    while x.head !== :call
        x = first(x.args)
    end
    for a in x.args[2:end]
        a isa Expr && a.head === :parameters ? foreach(p -> bind_name(bind, p), a.args) :
        bind_name(bind, a)
    end
end
bind_name(bind, a::Symbol) = bind(a)
bind_name(bind, a) = nothing
bind_name(bind, a::Expr) =
    a.head in (:kw, :(::), :(...)) && length(a.args) > 0 && bind_name(bind, first(a.args))

const ORDER = included(joinpath(SRC, "FedFlux.jl"))
const DESIGN = read(joinpath(SRC, "..", "..", "..", "docs", "design.md"), String)

@testset "every file is included, and every room is drawn" begin
    files = [joinpath(dir, f) for (dir, _, files) in walkdir(SRC) for f in files]
    jl = filter(f -> endswith(f, ".jl") && basename(f) != "FedFlux.jl", files)
    @test sort(normpath.(jl)) == sort(normpath.(ORDER))
    @test Set(room.(ORDER)) == keys(ARROWS)
    rooms = unique!([first(split(r, '/')) for r in keys(ARROWS)])
    @test all(r -> occursin("$r/", DESIGN) || r in ("errors", "texts"), rooms)
end

"The arrows of a large room's own rooms among each other."
function inner_arrows(large)
    inner(rooms) = [chopprefix(r, "$large/") for r in rooms if startswith(r, "$large/")]
    return Dict(
        only(inner([from])) => sort(inner(to))
        for (from, to) in ARROWS if startswith(from, "$large/")
    )
end

"The same as docs/design.md draws them: lines of a room, what it holds, and ← its arrows."
function drawn_arrows(large)
    drawing = match(Regex("^```text\\n$large/\\n(.*?)^```", "ms"), DESIGN)[1]
    unbroken = replace(drawing, r",\n +" => ", ")
    lines = eachmatch(r"^  (\w+)/? .*?(?:← (.*))?$"m, unbroken)
    return Dict(
        m[1] => sort(split(something(m[2], ""), ", "; keepempty = false))
        for m in lines
    )
end

@testset "docs/design.md draws the arrows within $large/" for large in LARGE_ROOMS
    @test drawn_arrows(large) == inner_arrows(large)
end

@testset "a file uses only what stands before it, and only along the arrows" begin
    owner = Dict{Symbol,Int}()          # name => the first file that defines it
    for (i, file) in enumerate(ORDER), name in definitions(file)
        isdefined(Base, name) || get!(owner, name, i)
    end
    @test length(owner) > 500
    problems, walked = String[], Set{Tuple{String,String}}()
    for (i, file) in enumerate(ORDER), name in sort!(collect(uses(file)))
        j = get(owner, name, i)
        from, to = room(file), room(ORDER[j])
        use = "$(relpath(file, SRC)) uses $name of $(relpath(ORDER[j], SRC))"
        j > i && push!(problems, "$use, which stands after it")
        from == to || to in ("errors", "texts") || to in ARROWS[from] ||
            push!(problems, "$use, against the arrows")
        push!(walked, (from, to))
    end
    @test problems == String[]
    drawn = [(from, to) for (from, rooms) in ARROWS for to in rooms]
    unused = filter(∉(walked), drawn)
    @test unused == []
end

# `reduce(vcat, lists; init)`, or over a generator, copies all before for each list, which
# is quadratic in clients. `concatenated` and `join_last` are linear.
@testset "nothing folds arrays together or splats them into one call" begin
    fold = r"reduce\(\s*[vh]?cat|mapreduce\(.*,\s*[vh]cat\b|\b[vh]?cat\([^()]*\.\.\."
    @test occursin(fold, "reduce(vcat, x; init = [])") && occursin(fold, "cat(x...; dims)")
    @test filter(file -> occursin(fold, read(file, String)), ORDER) == String[]
end

@testset "lines have at most 92 characters, and files of src 300 lines" begin
    package = pkgdir(FedFlux)
    for folder in ("src", "ext", "test"),
        (dir, _, files) in walkdir(joinpath(package, folder))

        for file in filter(endswith(".jl"), files)
            lines = readlines(joinpath(dir, file))
            long = findall(line -> length(line) > 92, lines)
            @test (file, long) == (file, Int[])
            folder == "src" && @test length(lines) <= 300
        end
    end
end

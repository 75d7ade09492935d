# The rooms of src/ and the arrows between them, as docs/design.md draws them; every file
# uses only what stands before it; widths of lines, lengths of files.

const SRC = joinpath(pkgdir(FedFlux), "src")

"The rooms that a room may use. Errors are for all."
const ARROWS = Dict(
    "errors" => [],
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
    "federation" =>
        ["options", "random", "privacy", "models", "engines", "data", "updates",
            "rules",
            "aggregation"],
    "checkpoints" => ["options", "models", "engines", "data", "rules", "federation"],
    "deployment" =>
        ["models", "engines", "data", "updates", "rules", "aggregation", "secagg",
            "random", "federation", "checkpoints"],
    "interface" =>
        ["deployment", "options", "random", "models", "engines", "data", "updates",
            "rules",
            "aggregation", "federation", "checkpoints", "privacy"])

"The files that `path` includes, in order, each after those that it includes itself."
function included(path)
    found = String[]
    for m in eachmatch(r"^include\(\"(.*)\"\)"m, read(path, String))
        file = joinpath(dirname(path), m[1])
        append!(found, [included(file); file])
    end
    return found
end

room(file) = first(split(first(splitext(relpath(file, SRC))), ('/', '\\')))

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
    return setdiff(used, bound)
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

@testset "every file is included, and every room is drawn" begin
    files = [joinpath(dir, f) for (dir, _, files) in walkdir(SRC) for f in files]
    jl = filter(f -> endswith(f, ".jl") && basename(f) != "FedFlux.jl", files)
    @test sort(normpath.(jl)) == sort(normpath.(ORDER))
    @test Set(room.(ORDER)) == keys(ARROWS)
    design = read(joinpath(SRC, "..", "..", "..", "docs", "design.md"), String)
    @test all(r -> occursin("$r/", design) || r == "errors", keys(ARROWS))
end

@testset "a file uses only what stands before it, and only along the arrows" begin
    owner = Dict{Symbol,Int}()          # name => the first file that defines it
    for (i, file) in enumerate(ORDER), name in definitions(file)
        isdefined(Base, name) || get!(owner, name, i)
    end
    @test length(owner) > 500
    problems = String[]
    for (i, file) in enumerate(ORDER), name in sort!(collect(uses(file)))
        j = get(owner, name, i)
        from, to = room(file), room(ORDER[j])
        use = "$(relpath(file, SRC)) uses $name of $(relpath(ORDER[j], SRC))"
        j > i && push!(problems, "$use, which stands after it")
        from == to || to == "errors" || to in ARROWS[from] ||
            push!(problems, "$use, against the arrows")
    end
    @test problems == String[]
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

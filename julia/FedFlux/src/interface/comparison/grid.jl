# A grid of options: its configurations, and what each is called.

"""
    Configuration

What the runs of one line of a comparison have alike: its `name`; `settings`, the values of
the options that the grid varies, as text; the `options`, all but the seed; and the name of
its `folder` below that of the comparison, which hangs on the options alone.
"""
struct Configuration
    name::String
    settings::Vector{Pair{String,String}}
    options::Dict{Symbol,Any}
    folder::String
end

"What a comparison decides for each of its runs, and what to give instead."
const DECIDED = Dict(:seed => "give seeds",
    :checkpoint => "give folder, below which each run has one of its own",
    :resume => "give the folder of the comparison, whose finished runs are not repeated"
)

"The options that change no number, so that runs with other values are the same runs."
const WITHOUT_NUMBERS = ("threads", "workers", "machines", "data_dir", "engine",
    "checkpoint_every", "checkpoint_keep")

const MAX_CONFIGURATIONS = 10_000

"""
    configurations(grid, shared; data = "") -> Vector{Configuration}

The configurations of a grid, or of several: lists of values by option, as a NamedTuple, a
Dict or a vector of pairs; the last option varies fastest. `shared` are the options that all
have. `data` stands for what is in arrays and files, and goes into the names of the folders.

```julia
FedFlux.configurations((rules = ["none", "scaffold"], lr = [0.1, 0.3]), Dict{Symbol,Any}())
```
"""
function configurations(grid, shared; data = "")
    foreach(check_free, keys(shared))
    shared = Dict{Symbol,Any}(name => as_value(name, v) for (name, v) in shared)
    grids = map(as_axes, one_or_several(grid))
    total = sum(axes -> prod(length ∘ last, axes; init = 1), grids)
    total <= MAX_CONFIGURATIONS || fail("grid: expected at most ", MAX_CONFIGURATIONS,
        " configurations, got ", total)
    names = unique!([name for axes in grids for (name, _) in axes])
    chosen = [point for axes in grids for point in points(axes)]
    texts = [[name => text_of(point, name, shared) for name in names] for point in chosen]
    varied = filter(name -> !allequal(last(t[findname(t, name)]) for t in texts), names)
    found = map(zip(chosen, texts)) do (point, text)
        options = merge(shared, Dict{Symbol,Any}(point))
        settings = [string(n) => value for (n, value) in text if n in varied]
        name = isempty(settings) ? "all" : called(settings)
        Configuration(name, settings, options, folder_name(name, options, data))
    end
    folders = Set{String}()
    for c in found
        c.folder in folders && fail("grid: the configuration ", c.name, " is there twice")
        push!(folders, c.folder)
    end
    return found
end

findname(text, name) = findfirst(p -> first(p) === name, text)

one_or_several(grid) = [grid]
one_or_several(grids::AbstractVector) =
    eltype(grids) <: Pair || isempty(grids) ? [grids] : grids

"The options of a grid with their values, in order; a Dict, which has none, by name."
as_axes(grid::NamedTuple) = as_axes(collect(Pair{Symbol,Any}, pairs(grid)))
as_axes(grid::AbstractDict) = as_axes(sort!(collect(grid); by = string ∘ first))
as_axes(grid::AbstractVector{<:Pair}) =
    map(grid) do (name, values)
        name = Symbol(name)
        check_free(name)
        listed = values isa Union{AbstractVector,Tuple} ? collect(Any, values) : Any[values]
        isempty(listed) && fail("grid: ", name, ": expected at least one value, got none")
        name => map(v -> as_value(name, v), listed)
    end
as_axes(grid) = fail("grid: expected lists of values by option, got ",
    first(repr(grid), 80))

"All points of a grid."
function points(axes)
    choices = [[name => v for v in values] for (name, values) in reverse(axes)]
    return vec([
        reverse!(collect(Pair{Symbol,Any}, p)) for p in Iterators.product(choices...)
    ])
end

function check_free(name)
    known = keys(DECLARED_OPTIONS)
    string(name) in known ||
        fail("unknown option '", name, "'", hint("option", string(name), known))
    haskey(DECIDED, name) && fail(name, ": a comparison decides it: ", DECIDED[name])
end

"A value as `Options` takes it: \"none\" is an empty list of objects, or an unset option."
function as_value(name, value)
    type = DECLARED_OPTIONS[string(name)]["type"]
    unset =
        value === nothing ||
        value isa Union{AbstractString,Symbol} &&
        lowercase(string(value)) == "none"
    unset && startswith(type, "specs") && return String[]
    unset && endswith(type, '?') && return nothing
    return value
end

"The value of an option at a point of the grid, as text."
function text_of(point, name, shared)
    i = findname(point, name)
    i === nothing && return haskey(shared, name) ? as_text(shared[name]) : "default"
    return as_text(last(point[i]))
end

as_text(::Nothing) = "none"
as_text(v::Union{AbstractString,Symbol,Real}) = string(v)
as_text(v::Union{AbstractVector,Tuple}) =
    isempty(v) ? "none" : join(map(as_text, v), eltype(v) <: Real ? "," : " + ")
as_text(object) = sprint(show, object)

"A name from settings: rules speak for themselves, and so does an object that alone varies."
function called(settings)
    alone = length(settings) == 1 && takes_object(first(only(settings)))
    named((name, text)) = alone || name == "rules" ? text : "$name=$text"
    return join(map(named, settings), ", ")
end

"A name that every file system takes, and a digest of the options that decide the numbers."
function folder_name(name, options, data)
    checked = Options(options)
    decisive = sort!([string(k) for k in keys(options) if string(k) ∉ WITHOUT_NUMBERS])
    content = JSON.json(
        [
            data;
            [
                [k, value_in_digest(getfield(checked, Symbol(k)))] for k in decisive]
        ]
    )
    words = strip(replace(lowercase(name), r"[^a-z0-9.]+" => "-"), ['-', '.'])
    return string(isempty(words) ? "run" : strip(first(words, 40), ['-', '.']), '-',
        first(bytes2hex(sha256(content)), 8))
end

value_in_digest(v) = is_text(v) ? v : sprint(show, v)

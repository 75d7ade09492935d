# The options of a run, as options.toml declares them.

const OPTIONS_FILE = joinpath(@__DIR__, "options.toml")
include_dependency(OPTIONS_FILE)
const DECLARED_OPTIONS = TOML.parsefile(OPTIONS_FILE)

const FIELD_TYPES = Dict("int" => Int, "float" => Float64, "str" => String, "bool" => Bool,
    "ints" => Vector{Int}, "floats" => Vector{Float64},
    "strs" => Vector{String})

"The values of a column of options.toml by option, of the options that have one."
column(name) =
    Dict(o => entry[name] for (o, entry) in DECLARED_OPTIONS if haskey(entry, name))

"Whether an option names an object, whose place the object itself may take."
takes_object(name) =
    haskey(DECLARED_OPTIONS[name], "object") ||
    startswith(DECLARED_OPTIONS[name]["type"], "spec")

"Whether the default of an option hangs on the values of others."
depends_on_others(name) = haskey(DECLARED_OPTIONS[name], "default_with")

function field_type(name)
    type = DECLARED_OPTIONS[name]["type"]
    takes_object(name) && return Any
    haskey(DECLARED_OPTIONS[name], "single") &&
        return Union{Nothing,Float64,Vector{Float64}}
    haskey(DECLARED_OPTIONS[name], "words") && return Union{Nothing,String,Vector{Float64}}
    T = FIELD_TYPES[rstrip(type, '?')]
    return endswith(type, '?') || depends_on_others(name) ? Union{Nothing,T} : T
end

const OPTION_NAMES = Tuple(Symbol.(sort!(collect(keys(DECLARED_OPTIONS)))))

@eval begin
    """
        Options(; options...)
        Options(given::AbstractDict)

    The checked options of a run: a field for each option in options.toml, the rest filled
    with the defaults; an unset optional is `nothing`, and so is a default that hangs on the
    data set which `auto` has yet to choose (see [`settled`](@ref)). Where an option names
    an object (a rule, a model, a data set), the field may hold the object itself.

    Throws a [`FedFluxError`](@ref) that names the option, what was expected and what came.

    ```julia
    FedFlux.Options(rounds = 3).rounds      # 3
    ```
    """
    struct Options
        $([:($name::$(field_type(string(name)))) for name in OPTION_NAMES]...)
    end
end

Options(; options...) = Options(Dict{Symbol,Any}(options))

function Options(given::AbstractDict)
    given = Dict{String,Any}(string(name) => value for (name, value) in given)
    for name in keys(given)
        haskey(DECLARED_OPTIONS, name) ||
            fail("unknown option '", name, "'",
                hint("option", name, keys(DECLARED_OPTIONS)))
    end
    value(name) =
        haskey(given, name) ? checked(name, given[name], given) :
        default_beside(name, value)
    return Options((value(string(name)) for name in OPTION_NAMES)...)
end

"""
    settled(o::Options, dataset)

The options with the defaults that hang on the data set, now that its name is known.
"""
function settled(o::Options, dataset::AbstractString)
    name_of_data = dataset == "auto" ? "" : dataset # arrays that were given without a name
    value(name) = name == "dataset" ? name_of_data : getfield(o, Symbol(name))
    undecided(name) = getfield(o, name) === nothing && depends_on_others(string(name))
    settle(name) =
        undecided(name) ? default_beside(string(name), value) : getfield(o, name)
    return Options((settle(name) for name in OPTION_NAMES)...)
end

"""
The default of an option if the others have the values `value(name)`, or `nothing` if it
hangs on the data set, which `auto` has yet to choose.
"""
function default_beside(name, value)
    declared = DECLARED_OPTIONS[name]
    default = haskey(declared, "default") ? checked(name, declared["default"]) : nothing
    depends_on_others(name) || return default
    conditions = filter(p -> first(p) != "value", declared["default_with"])
    given_as(v, wanted) = v isa AbstractString && v in (wanted, "auto")
    all(p -> given_as(value(first(p)), last(p)), conditions) || return default
    value("dataset") == "auto" && return nothing
    return checked(name, declared["default_with"]["value"])
end

checked(name, value, given = Dict{String,Any}()) =
    takes_object(name) && !is_text(value) ? value :
    check_option(name, declared_beside(name, given), value)

"The declaration of an option, with the names of the user's own objects among the choices."
function declared_beside(name, given)
    declared = DECLARED_OPTIONS[name]
    own = names_in(get(given, get(declared, "names_of", ""), ()))
    return isempty(own) ? declared :
           merge(declared, Dict("choices" => [declared["choices"]; own]))
end

names_in(objects) = String[]
names_in(objects::NamedTuple) = collect(string.(keys(objects)))
names_in(objects::AbstractDict) = sort!(collect(String, string.(keys(objects))))
names_in(objects::Union{Tuple,AbstractVector}) =
    String[string(first(o)) for o in objects if o isa Pair]

"Whether a value is the text of an option rather than a Julia object."
is_text(v) =
    v isa Union{AbstractString,Symbol,Nothing,Real} ||
    v isa Union{Tuple,AbstractVector} && all(is_text, v)

"The options given as text or numbers, by name: what can be stored and compared."
plain_options(o::Options) =
    Dict{String,Any}(
        string(name) => getfield(o, name) for name in OPTION_NAMES
        if is_text(getfield(o, name))
    )

"The options given as Julia objects, by name."
object_options(o::Options) = Dict{String,Any}(
    string(name) => getfield(o, name)
    for name in OPTION_NAMES
    if !is_text(getfield(o, name))
)

function Base.show(io::IO, o::Options)
    changed = [
        (name, value) for (name, value) in sort!(collect(plain_options(o)); by = first)
        if value !== nothing && value != get(DECLARED_OPTIONS[name], "default", nothing)
    ]
    given = [["$name = $(repr(value))" for (name, value) in changed];
        sort!(collect(keys(object_options(o)))) .* " = …"]
    print(io, "Options(", join(given, ", "), ")")
end

"""
    built(o::Options, name)

The object, or the tuple of objects of a list, that the option names or holds.
"""
function built(o::Options, name::Symbol)
    kind = get(DECLARED_OPTIONS[string(name)], "kind", string(name))
    return as_object(kind, getfield(o, name))
end

as_object(kind, v) = v
as_object(kind, f::Function) = object_of(Val(Symbol(kind)), f)
as_object(kind, v::Union{AbstractString,Symbol}) = build(kind, string(v))
as_object(kind, v::Union{Tuple,AbstractVector}) = Tuple(as_object(kind, e) for e in v)

"""
    object_of(Val(kind), f)

The object that a plain function stands for when an option takes an object of this kind;
`f` itself, unless the kind has a method of its own.
"""
object_of(::Val, f) = f

"The name of a function; one without a name is called function."
function function_name(f)
    name = string(nameof(f))
    return startswith(name, '#') ? "function" : name
end

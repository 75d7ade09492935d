# Options that name an object: "fedprox(mu=0.01)". specs.toml declares the names and their
# parameters.

const SPECS_FILE = joinpath(@__DIR__, "specs.toml")
include_dependency(SPECS_FILE)
const SPECS = TOML.parsefile(SPECS_FILE)

# A table of TOML keeps no order: that of names and parameters is read from the text.
const PARAMETER_ORDER = let order = Dict{Tuple{String,String},Vector{String}}()
    for m in eachmatch(r"^\[(\w+)\.(\w+)\.params\.(\w+)\]"m, read(SPECS_FILE, String))
        push!(get!(order, (m[1], m[2]), String[]), m[3])
    end
    order
end

const NAME_ORDER = let order = Dict{String,Vector{String}}()
    for m in eachmatch(r"^\[(\w+)\.(\w+)\]"m, read(SPECS_FILE, String))
        push!(get!(order, m[1], String[]), m[2])
    end
    order
end

"""
    parse_spec(kind, text) -> (name, parameters)

The name and the checked parameters (a Dict of Symbol to value, defaults filled in) of
`name` or `name(p=value, …)`. Values are numbers, true, false, words, "quoted strings" or
[lists]; the first ones may stand without their names. Throws a [`FedFluxError`](@ref) that
names what is wrong.

```julia
FedFlux.parse_spec("partition", "iid")   # ("iid", Dict())
```
"""
function parse_spec(kind, text::AbstractString)
    m = length(text) > 1000 ? nothing :
        match(r"^\s*(\w+)\s*(?:\((.*)\))?\s*$"s, text)
    m === nothing && fail(kind, ": expected name or name(parameter=value, ...), got ",
        repr(first(text, 80)))
    name = lowercase(m[1])
    known = SPECS[kind]
    haskey(known, name) || fail(kind, ": expected one of ",
        join(NAME_ORDER[kind], ", "), ", got '", m[1], "'",
        hint(kind, name, keys(known)))
    declared = get(known[name], "params", Dict{String,Any}())
    order = get(PARAMETER_ORDER, (kind, name), String[])
    given = parse_parameters(kind, text, something(m[2], ""), order)
    for p in keys(given)
        haskey(declared, p) && continue
        fail(kind, " ", name, ": no parameter '", p, "'; it takes ", takes(order),
            suggestion(p, keys(declared)))
    end
    value(p, d) = get(given, p, get(d, "default", nothing))
    checked(p, d) = check_value("$kind $name, parameter $p", d, value(p, d))
    return name, Dict{Symbol,Any}(Symbol(p) => checked(p, d) for (p, d) in declared)
end

"Check the value of an option; the text of a spec names an object, with valid parameters."
function check_option(name, declared, value)
    checked = check_value(name, declared, value)
    startswith(declared["type"], "spec") && checked !== nothing || return checked
    foreach(text -> parse_spec(get(declared, "kind", name), text), as_values(checked))
    return checked
end

# parameter=value, or a value alone, and a comma or the end; or whatever else there is
const PARAMETER = Regex(
    raw"""\s*(?:(\w+)\s*=\s*("[^"]*"|\[[^\]]*\]|[^,\s\[\]"]+)\s*(?:,|$)""" *
    raw"""|("[^"]*"|\[[^\]]*\]|[^,\s\[\]"=]+)\s*(?:,|$)|(\S.*))""", "s")

# "a=1, b=[2, 3]" by its commas outside brackets and quotes; values without a name, which
# come first, belong to the first of the parameters in `order`.
function parse_parameters(kind, text, inside, order = String[])
    given = Dict{String,Any}()
    unreadable(at, more...) = fail(kind, ": can't read '", text, "' at '", at,
        "'; expected parameter=value, ...", more...)
    for (i, m) in enumerate(eachmatch(PARAMETER, inside))
        m[4] === nothing || unreadable(m[4])
        m[3] === nothing ||
            length(given) == i - 1 < length(order) &&
            all(in(keys(given)), order[1:(i-1)]) ||
            unreadable(m[3], "; it takes ", takes(order))
        name = m[3] === nothing ? m[1] : order[i]
        haskey(given, name) &&
            fail(kind, ": '", text, "' gives ", name, " twice")
        given[name] = parse_value(something(m[3], m[2]))
    end
    return given
end

takes(order) = isempty(order) ? "none" : join(order, ", ")

function parse_value(text::AbstractString)
    startswith(text, '"') && return String(text[2:(end-1)])
    startswith(text, '[') &&
        return [
            parse_value(strip(part))
            for part in split(text[2:(end-1)], ','; keepempty = false)
        ]
    text in ("true", "false") && return text == "true"
    integer = tryparse(Int, text)
    integer === nothing || return integer
    return something(tryparse(Float64, text), String(text))
end

"""
    build(kind, text)

The object that an option's text names.
"""
function build(kind, text)
    name, parameters = parse_spec(kind, text)
    return construct(Val(Symbol(kind)), Val(Symbol(name)); parameters...)
end

"""
    construct(Val(kind), Val(name); parameters...)

The object of a name in specs.toml: an object of the `class` that stands there, which takes
the parameters as keywords. A constructor that takes them otherwise has a method beside it.
"""
function construct(::Val{kind}, ::Val{name}; parameters...) where {kind,name}
    class = SPECS[string(kind)][string(name)]["class"]
    return getglobal(@__MODULE__, Symbol(class))(; parameters...)
end

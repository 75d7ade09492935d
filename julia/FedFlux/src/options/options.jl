# The options of a run, as options.toml declares them.

const OPTIONS_FILE = joinpath(@__DIR__, "options.toml")
include_dependency(OPTIONS_FILE)
const OPTIONS = TOML.parsefile(OPTIONS_FILE)

"""
    check_options(given) -> Dict{Symbol,Any}

The options of a run: `given` (names to values) checked against options.toml, the rest filled with the defaults; an unset
optional is `nothing`. Throws a [`FedFluxError`](@ref) that names the option, what was expected and what came.
"""
function check_options(given)
    for name in keys(given)
        haskey(OPTIONS, string(name)) || fail("unknown option ", name, "; did you mean ", nearest(string(name), keys(OPTIONS)), "?")
    end
    return Dict{Symbol,Any}(Symbol(name) => check_option(name, spec, get(given, Symbol(name), get(spec, "default", nothing)))
                            for (name, spec) in OPTIONS)
end

function check_option(name, spec, value)
    type = rstrip(spec["type"], '?')
    value === nothing && endswith(spec["type"], '?') && return nothing
    checked = as_type(Val(Symbol(type)), value)
    checked === nothing && fail("option ", name, " is ", repr(value), "; expected ", TYPE_NAMES[type])
    startswith(type, "spec") && foreach(text -> parse_spec(get(spec, "kind", name), text), checked isa Vector ? checked : (checked,))
    foreach(v -> check_bounds(name, spec, v), checked isa Vector ? checked : (checked,))
    return checked
end

const TYPE_NAMES = Dict("int" => "a whole number", "float" => "a number", "str" => "a string", "bool" => "true or false",
                        "ints" => "a list of whole numbers", "floats" => "a list of numbers", "strs" => "a list of strings",
                        "spec" => "name or name(parameter=value, …)", "specs" => "a list of name or name(parameter=value, …)")

as_type(::Val{:int}, v) = v isa Integer && !(v isa Bool) && typemin(Int) <= v <= typemax(Int) ? Int(v) : nothing
as_type(::Val{:float}, v) = v isa Real && !(v isa Bool) && isfinite(v) ? Float64(v) : nothing
as_type(::Val{:str}, v) = v isa Union{AbstractString,Symbol} ? String(v) : nothing
as_type(::Val{:bool}, v) = v isa Bool ? v : nothing
as_type(::Val{:ints}, v) = as_list(Int, Val(:int), v)
as_type(::Val{:floats}, v) = as_list(Float64, Val(:float), v)
as_type(::Val{:strs}, v) = as_list(String, Val(:str), v)
as_type(::Val{:spec}, v) = as_type(Val(:str), v)
as_type(::Val{:specs}, v) = as_list(String, Val(:str), v isa Union{AbstractString,Symbol} ? [v] : v)   # one will do

function as_list(::Type{T}, element, v) where {T}
    v isa Union{AbstractVector,Tuple} || return nothing
    checked = [as_type(element, e) for e in v]
    return any(isnothing, checked) ? nothing : Vector{T}(checked)
end

function check_bounds(name, spec, value)
    haskey(spec, "choices") && !(value in spec["choices"]) &&
        fail("option ", name, " is ", repr(value), "; expected one of ", join(spec["choices"], ", "))
    haskey(spec, "min") && value < spec["min"] && fail("option ", name, " is ", value, "; expected at least ", spec["min"])
    haskey(spec, "max") && value > spec["max"] && fail("option ", name, " is ", value, "; expected at most ", spec["max"])
    haskey(spec, "above") && !(value > spec["above"]) && fail("option ", name, " is ", value, "; expected more than ", spec["above"])
end

"The name in `names` that takes the fewest edits to reach from `word`."
nearest(word, names) = argmin(name -> (edits(word, name), name), collect(names))

"Levenshtein's distance."
function edits(a, b)
    row = collect(0:length(b))
    for (i, ca) in enumerate(a)
        diagonal, row[1] = row[1], i
        for (j, cb) in enumerate(b)
            diagonal, row[j+1] = row[j+1], min(row[j+1] + 1, row[j] + 1, diagonal + (ca != cb))
        end
    end
    return last(row)
end

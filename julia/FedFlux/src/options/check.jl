# Checks of single values against their declaration: type, choices, bounds.

"""
    check_value(name, declared, value)

The value as the declared type. Throws a [`FedFluxError`](@ref) for a wrong type, a value
that is not one of the choices, or one out of bounds.
"""
function check_value(name, declared, value)
    type = rstrip(declared["type"], '?')
    value === nothing && endswith(declared["type"], '?') && return nothing
    value isa Union{AbstractString,Symbol} && string(value) in get(declared, "words", ()) &&
        return string(value)
    alone = get(declared, "single", false) && value isa Real
    converted = as_type(alone ? Val(:float) : Val(Symbol(type)), value)
    converted === nothing && wrong_type(name, declared, value)
    foreach(v -> check_bounds(name, declared, v), as_values(converted))
    return converted
end

function wrong_type(name, declared, value)
    value === nothing && !endswith(declared["type"], '?') &&
        fail(name, ": expected a value, got none")
    unset = endswith(declared["type"], '?') ? " (or nothing)" : ""
    infinite =
        value isa AbstractFloat && !isfinite(value) &&
        (declared["type"] == "float" || get(declared, "single", false))
    expected = infinite ? "a finite number" : expected_type(declared)
    fail(name, ": expected ", expected, unset, ", got ", repr(value))
end

function expected_type(declared)
    single = get(declared, "single", false) ? "a number or " : ""
    words = join((", or $word" for word in get(declared, "words", ())))
    return string(single, TYPE_NAMES[rstrip(declared["type"], '?')], words)
end

as_values(v) = v isa Vector ? v : (v,)

const TYPE_NAMES = Dict(
    "int" => "an integer", "float" => "a number", "str" => "a string",
    "bool" => "true or false", "ints" => "a list of integers",
    "floats" => "a list of numbers", "strs" => "a list of strings",
    "spec" => "name or name(parameter=value, ...)",
    "specs" => "a list of name or name(parameter=value, ...)")

as_type(::Val{:int}, v) =
    v isa Integer && !(v isa Bool) && typemin(Int) <= v <= typemax(Int) ? Int(v) : nothing
as_type(::Val{:float}, v) =
    v isa Real && !(v isa Bool) && isfinite(v) ? Float64(v) : nothing
as_type(::Val{:str}, v) = v isa Union{AbstractString,Symbol} ? String(v) : nothing
as_type(::Val{:bool}, v) = v isa Bool ? v : nothing
as_type(::Val{:ints}, v) = as_list(Int, Val(:int), v)
as_type(::Val{:floats}, v) = as_list(Float64, Val(:float), v)
as_type(::Val{:strs}, v) = as_list(String, Val(:str), v)
as_type(::Val{:spec}, v) = as_type(Val(:str), v)
as_type(::Val{:specs}, v) =      # one name will do
    as_list(String, Val(:str), v isa Union{AbstractString,Symbol} ? [v] : v)

function as_list(::Type{T}, element, v) where {T}
    v isa Union{AbstractVector,Tuple} || return nothing
    converted = [as_type(element, e) for e in v]
    return any(isnothing, converted) ? nothing : Vector{T}(converted)
end

function check_bounds(name, declared, value)
    out(expected, bound, hint = "") =
        fail(name, ": expected ", expected, bound, ", got ",
            value isa AbstractString ? repr(value) : value, hint)
    described = get(declared, "described", false) && startswith(lstrip(value), '[')
    haskey(declared, "choices") && !(value in declared["choices"]) && !described &&
        out("one of ", join(declared["choices"], ", "),
            value isa AbstractString ? hint(name, value, declared["choices"]) : "")
    haskey(declared, "min") && value < declared["min"] &&
        out("at least ", declared["min"])
    haskey(declared, "max") && value > declared["max"] &&
        out("at most ", declared["max"])
    haskey(declared, "above") && !(value > declared["above"]) &&
        out("more than ", declared["above"])
end

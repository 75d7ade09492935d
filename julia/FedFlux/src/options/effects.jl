# Options that change nothing beside the others: `only_with` and `not_with` in options.toml.

"""
    without_effect(names, o) -> messages

Why options that were given (their `names`) change nothing in a run with the options `o`.
"""
function without_effect(names, o)
    whys = (why_without_effect(string(name), o) for name in names)
    return String[why for why in whys if why !== nothing]
end

function why_without_effect(name, o)
    column(of) = get(DECLARED_OPTIONS[name], of, ())
    used = any(is_met(c..., o; object = false) for c in column("used_with"))
    for (option, wanted) in column("not_with")
        !used && is_met(option, wanted, o; object = false) &&
            return "$name has no effect: $option=$(shown_option(option, o)) does not use it"
    end
    conditions = get(DECLARED_OPTIONS[name], "only_with", nothing)
    conditions === nothing && return nothing
    any(is_met(option, wanted, o) for (option, wanted) in conditions) && return nothing
    needs = join((condition_text(c...) for c in sort!(collect(conditions))), " or ")
    return "$name has no effect: it needs $needs"
end

# An empty list asks that the option is set; another, for one of these values. `object` is
# the answer for an object that the user made in place of a name.
function is_met(option, wanted, o; object = true)
    value = getfield(o, Symbol(option))
    unset = value in (nothing, get(DECLARED_OPTIONS[option], "default", nothing))
    isempty(wanted) && return !unset
    begins(v) = v isa AbstractString ? any(w -> startswith(v, w), wanted) : object
    return value isa Union{Tuple,AbstractVector} ? any(begins, value) :
           value isa AbstractString && begins(value)
end

function shown_option(option, o)
    value = getfield(o, Symbol(option))
    return value isa Union{Tuple,AbstractVector} ? join(value, ", ") : value
end

condition_text(option, wanted) =
    isempty(wanted) ? option : "$option=$(join(wanted, " or "))"

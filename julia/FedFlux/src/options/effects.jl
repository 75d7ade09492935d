# Options that change nothing beside the others: `only_with` in options.toml.

"""
    without_effect(names, o) -> messages

Why options that were given (their `names`) change nothing in a run with the options `o`.
"""
function without_effect(names, o)
    whys = (why_without_effect(string(name), o) for name in names)
    return String[why for why in whys if why !== nothing]
end

function why_without_effect(name, o)
    conditions = get(DECLARED_OPTIONS[name], "only_with", nothing)
    conditions === nothing && return nothing
    any(is_met(option, wanted, o) for (option, wanted) in conditions) && return nothing
    needs = join((condition_text(c...) for c in sort!(collect(conditions))), " or ")
    return "$name has no effect: it needs $needs"
end

# An empty list asks that the option is set; another, for one of these values.
function is_met(option, wanted, o)
    value = getfield(o, Symbol(option))
    unset = value in (nothing, get(DECLARED_OPTIONS[option], "default", nothing))
    isempty(wanted) && return !unset
    return value isa AbstractString && any(w -> startswith(value, w), wanted)
end

condition_text(option, wanted) =
    isempty(wanted) ? option : "$option=$(join(wanted, " or "))"

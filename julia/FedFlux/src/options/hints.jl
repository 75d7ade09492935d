# What to write for a name that other libraries use; hints.toml lists those names.

const HINTS_FILE = joinpath(@__DIR__, "hints.toml")
include_dependency(HINTS_FILE)
const HINTS = TOML.parsefile(HINTS_FILE)

"""
    hint(section, name, known) -> text

The end of the message about an unknown `name`: what FedFlux calls it, by a section of
hints.toml, or else the nearest of the `known` names, if one is near.
"""
function hint(section, name, known)
    plain = replace(lowercase(string(name)), '-' => '_')
    found = get(get(HINTS, section, Dict{String,Any}()), plain, nothing)
    found === nothing && return suggestion(string(name), known)
    return occursin(' ', found) ? "; $found" : "; did you mean '$found'?"
end

"""
    suggestion(name, known) -> text

The one of the `known` names that takes the fewest edits, as the end of a message; empty if
more than half of the longer name needs an edit.
"""
function suggestion(name, known)
    isempty(known) && return ""
    near = nearest(name, known)
    2edits(name, near) > max(length(name), length(near)) && return ""
    return "; did you mean '$near'?"
end

"The name in `names` that takes the fewest edits to reach from `word`."
nearest(word, names) = argmin(name -> (edits(word, name), name), collect(names))

"How many letters to insert, remove, change or swap with the next, to come from `a` to `b`."
function edits(a, b)
    a, b = collect(a), collect(b)
    d = [max(i, j) * (i == 0 || j == 0) for i = 0:length(a), j = 0:length(b)]
    for i in eachindex(a), j in eachindex(b)
        d[i+1, j+1] = min(d[i, j+1] + 1, d[i+1, j] + 1, d[i, j] + (a[i] != b[j]))
        swapped = i > 1 && j > 1 && a[i] == b[j-1] && a[i-1] == b[j]
        swapped && (d[i+1, j+1] = min(d[i+1, j+1], d[i-1, j-1] + 1))
    end
    return last(d)
end

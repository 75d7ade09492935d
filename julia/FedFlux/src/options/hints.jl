# What to write for a name that other libraries use; hints.toml lists those names.

const HINTS_FILE = joinpath(@__DIR__, "hints.toml")
include_dependency(HINTS_FILE)
const HINTS = TOML.parsefile(HINTS_FILE)

"""
    hint(section, name, known) -> text

The end of the message about an unknown `name`: what FedFlux calls it, by a section of
hints.toml, or else the nearest of the `known` names.
"""
function hint(section, name, known)
    plain = replace(lowercase(string(name)), '-' => '_')
    found = get(get(HINTS, section, Dict{String,Any}()), plain, nothing)
    found === nothing && return "; did you mean $(nearest(name, known))?"
    return occursin(' ', found) ? "; $found" : "; did you mean $found?"
end

"The name in `names` that takes the fewest edits to reach from `word`."
nearest(word, names) = argmin(name -> (edits(word, name), name), collect(names))

"Levenshtein's distance."
function edits(a, b)
    row = collect(0:length(b))
    for (i, ca) in enumerate(a)
        diagonal, row[1] = row[1], i
        for (j, cb) in enumerate(b)
            diagonal, row[j+1] =
                row[j+1], min(row[j+1] + 1, row[j] + 1, diagonal + (ca != cb))
        end
    end
    return last(row)
end

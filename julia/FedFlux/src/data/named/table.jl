# The names of data sets, which datasets.toml declares.

const DATASETS_FILE = joinpath(@__DIR__, "..", "..", "options", "datasets.toml")
include_dependency(DATASETS_FILE)
const DATASETS = TOML.parsefile(DATASETS_FILE)

const DATASET_ORDER =
    [String(m[1]) for m in eachmatch(r"^\[(\w+)\]"m, read(DATASETS_FILE, String))]

"""
What a data set's text names: its `name`, and what stands behind a colon, or `nothing`; or
`nothing` for the text of no data set.
"""
function named_dataset(text)
    m = match(r"^(\w+)(?::(.*)|\(.*\)\s*)?$"s, text)
    return m === nothing || !haskey(DATASETS, m[1]) ? nothing : (m[1], m[2])
end

"The parameters of a generator's text, such as `synthetic(alpha=1)`, checked."
function dataset_parameters(text)
    m = match(r"^(\w+)(?:\((.*)\))?\s*$"s, text)
    declared = get(DATASETS[m[1]], "params", Dict{String,Any}())
    order = String[
        x[1] for
        x in eachmatch(Regex("^\\[$(m[1])\\.params\\.(\\w+)\\]", "m"),
            read(DATASETS_FILE, String))
    ]
    given = parse_parameters("dataset", text, something(m[2], ""), order)
    for p in keys(given)
        haskey(declared, p) || fail("dataset ", m[1], ": no parameter '", p,
            "'; it takes ", takes(order), suggestion(p, keys(declared)))
    end
    return Dict{Symbol,Any}(
        Symbol(p) => check_value("dataset $(m[1]), parameter $p", d,
            get(given, p, d["default"])) for (p, d) in declared
    )
end

"All names that a text may begin with, for errors."
function listed_datasets()
    shown(name) =
        get(DATASETS[name], "path", false) ? "$name:PATH" :
        haskey(DATASETS[name], "params") ? "$name(…)" : name
    return join(["auto"; map(shown, DATASET_ORDER)], ", ")
end

"The part of a data set that its text names; the first one if it names none."
function dataset_part(name, part)
    parts = get(DATASETS[name], "splits", String[])
    part === nothing && return isempty(parts) ? "" : first(parts)
    part in parts ||
        fail("dataset ", name, ": expected ",
            isempty(parts) ? "no part" : join(("$name:$p" for p in parts), ", "), ", got ",
            repr(string(name, ':', first(part, 80))))
    return String(part)
end

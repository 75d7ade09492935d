# The files of a comparison: its grid as TOML, its tables as CSV, and all of it as JSON.

const GRID_FILE = "comparison.toml"
const MAX_GRID_BYTES = 2^20

"""
    read_grid(path) -> (; grid, options, settings)

A grid from a TOML file: `[grid]`, or several `[[grid]]`, with lists of values by option;
`[options]` that all runs have; and beside them `seeds`, `target`, `metric` and `baseline`.
"""
function read_grid(path)
    isfile(path) || fail("grid: there is no file ", path)
    filesize(path) <= MAX_GRID_BYTES ||
        fail("grid ", path, ": expected at most ", MAX_GRID_BYTES, " bytes")
    table = TOML.tryparse(read_text(path))
    table isa TOML.ParserError &&
        fail("grid ", path, ": expected TOML: ", first_line(table))
    known = ("grid", "options", "seeds", "target", "metric", "baseline")
    for name in keys(table)
        name in known || fail("grid ", path, ": expected ", join(known, ", "), ", got ",
            repr(name), hint("entry", name, known))
    end
    tables = get(table, "grid", Dict{String,Any}())
    tables = tables isa AbstractVector ? tables : [tables]
    shared = get(table, "options", Dict{String,Any}())
    all(t -> t isa AbstractDict, (tables..., shared)) ||
        fail("grid ", path, ": expected [grid] and [options] to be tables")
    order = line_numbers(path)
    in_order(t) = sort!([Symbol(k) => v for (k, v) in t];
        by = p -> (get(order, string(first(p)), 0), string(first(p))))
    settings = Dict{Symbol,Any}(
        Symbol(k) => v for (k, v) in table if k ∉ ("grid", "options"))
    return (; grid = map(in_order, tables),
        options = Dict{Symbol,Any}(Symbol(k) => v for (k, v) in shared), settings)
end

"The line of each key, since TOML.jl's tables have no order and a grid has one."
line_numbers(path) = Dict(
    String(m[1]) => i for (i, line) in reverse(collect(enumerate(split(read_text(path),
        '\n')))) for m in (match(r"^\s*\"?([\w-]+)\"?\s*=", line),) if m !== nothing)

"The grid as TOML, for [`read_grid`](@ref)."
function grid_text(grids, shared, settings)
    io = IOBuffer()
    println(io, "# What was compared; `fedflux compare --grid FILE` compares it again.")
    entry(name, value) = TOML.print(io, Dict(string(name) => value))
    for (name, value) in sort!(collect(settings); by = first)
        value === nothing || entry(name, value)
    end
    isempty(shared) || println(io, "\n[options]      # alike in all runs")
    for (name, value) in sort!(collect(shared); by = first)
        is_text(value) ? entry(name, in_toml(value)) : println(io, "# ", name, ": given")
    end
    for axes in grids
        println(io, length(grids) == 1 ? "\n[grid]" : "\n[[grid]]")
        foreach(((name, values),) -> entry(name, map(in_toml, values)), axes)
    end
    return String(take!(io))
end

in_toml(v) = as_text(v) == "none" ? "none" : v isa Symbol ? string(v) : v

function table_csv(c)
    axes = first.(first(c.rows).settings)
    plain = filter(n -> n !== :settings, keys(first(c.rows)))
    return csv([string.(plain)...; axes],
        ([[getfield(row, n) for n in plain]; last.(row.settings)] for row in c.rows))
end

function runs_csv(c)
    plain = filter(!=(:curve), fieldnames(ComparedRun))
    return csv(string.(plain), ([getfield(r, n) for n in plain] for r in c.runs))
end

"The facts of a comparison, as JSON can hold them."
function comparison_facts(c)
    plain(row) = merge(Dict{String,Any}(string(k) => loss_as_json(v) for
                           (k, v) in pairs(row)),
        Dict{String,Any}("settings" => [[a, b] for
                                        (a, b) in row.settings]))
    whole(r) = Dict{String,Any}(
        string(n) =>
            n === :curve ? Dict(k => map(loss_as_json, v) for
                                (k, v) in r.curve) : loss_as_json(getfield(r, n)) for
        n in fieldnames(ComparedRun))
    return Dict{String,Any}("format" => 1, "metric" => c.metric, "target" => c.target,
        "baseline" => c.baseline, "seeds" => c.seeds, "seconds" => c.seconds,
        "rows" => map(plain, c.rows), "runs" => map(whole, c.runs),
        "table" => sprint(show_table, c), "how_tested" => how_tested(c),
        "options" => Dict(string(k) => as_text(v) for (k, v) in c.options),
        "versions" => versions(), "warnings" => c.warnings)
end

"Write the tables of a comparison beside its runs."
function write_comparison(folder, c)
    files = ("table.csv" => table_csv(c), "runs.csv" => runs_csv(c),
        "comparison.json" => JSON.json(comparison_facts(c)) * "\n")
    writing(folder) do
        foreach(
            ((name, text),) -> write_durably(joinpath(folder, name),
                Vector{UInt8}(text)), files)
    end
end

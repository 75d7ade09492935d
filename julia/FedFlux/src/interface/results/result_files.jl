# Results in files: the safetensors files that Python's `Result.save` writes and reads too.

const RESULT_FORMAT = 1

"""
    save(path, r::RunResult) -> path

Save a result as a safetensors file: the parameters, and the facts of the run as metadata.
[`load_result`](@ref) reads it, and Python's `Result.load`, and the parameters any reader of
safetensors. The rules' states are not in it: to go on with a run later, give the option
`checkpoint`.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
path = FedFlux.save(joinpath(mktempdir(), "run.safetensors"), r)
FedFlux.load_result(path)
```
"""
function save(path::AbstractString, r::RunResult)
    known = ("dataset", "trainer", "history", "params_sha256", "stopped", "seconds",
        "warnings")
    report_of = result_facts(r)
    facts = Dict{String,Any}(name => report_of[name] for name in known)
    facts["engine"] = "julia"
    facts["versions"] = report_of["versions"]
    facts["options"] = merge(plain_options(r.options), report_of["objects"])
    facts["clients"] = report_of["client_rows"]
    elsewhere = (known..., "names", "statistics", "best", "versions", "settled",
        "client_rows")
    facts["details"] = filter(p -> first(p) ∉ elsewhere, report_of)
    facts["names"], facts["format"] = r.names, RESULT_FORMAT
    facts["statistics"] = report_of["statistics"]
    facts["statistics_sha256"] = joint_sha256(last.(r.statistics))
    facts["best"] = saved_best(r, report_of["best"])
    facts["accuracy"], facts["loss"] = accuracy(r), last_loss(r)
    metadata = Dict("fedflux" => JSON.json(facts))
    tensors = [r.names .=> r.parameters; r.statistics]
    best_apart(r) && append!(tensors, under_best(r.best))
    return write_or_fail(path, write_tensors(tensors, metadata))
end

function write_or_fail(path, content)
    try
        write_durably(path, content)
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
        fail("can't write ", path, ": ", first_line(err))
    end
    return path
end

"""
    save_history(path, r) -> path

Write the history of a result, or a history, as CSV: a line for each round, with the columns
of [`history_table`](@ref), as Python's `Result.save_history` does. What was not measured is
empty. The cohort is a text, and so are the clients that were left out: `3 (NaN in delta)`.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
FedFlux.save_history(joinpath(mktempdir(), "rounds.csv"), r)
```
"""
function save_history(path::AbstractString, r)
    endswith(lowercase(path), ".csv") || fail("path: expected a file .csv, got ",
        repr(path), "; packages that write other kinds take FedFlux.history_table(r)")
    rows = history_table(r)
    names = isempty(rows) ? () : keys(first(rows))
    return write_or_fail(path,
        Vector{UInt8}(csv(names, (map(in_csv, values(row)) for row in rows))))
end

in_csv(value) = value
in_csv(numbers::AbstractVector) = join(numbers, ' ')
in_csv(left_out::AbstractVector{<:NamedTuple}) =
    join(("$(d.client) ($(d.reason))" for d in left_out), "; ")

"A table as CSV, after RFC 4180: a line of the names of columns, and a line a row."
function csv(names, rows)
    cell(::Nothing) = ""
    cell(v) = (
        text = string(v);
        any(in(",\"\r\n"), text) ?
        "\"" * replace(text, '"' => "\"\"") * "\"" : text
    )
    lines = [join(map(cell, row), ',') for row in rows]
    return join([join(map(cell, names), ','); lines], '\n') * "\n"
end

saved_best(r, ::Nothing) = nothing
saved_best(r, best) = merge(filter(p -> first(p) ∉ ("names", "statistics"), best),
    Dict("statistics_sha256" => joint_sha256(last.(r.best.statistics))))

under_best(s::Snapshot) =
    ["best/$name" => a for (name, a) in [s.names .=> s.parameters; s.statistics]]

"The SHA-256 of arrays, one after the other."
joint_sha256(arrays) = fingerprint(concatenated(Float32, map(vec, arrays)))

function last_loss(r::RunResult)
    isempty(r.history) && return nothing
    last_one = last(r.history)
    return loss_as_json(something(last_one.test_loss, last_one.train_loss))
end

"""
    SavedResult

A result from a file: `facts`, a Dict of the run's facts (`history`, `options`, …), the
`parameters` with their `names`, in model order, BatchNorm's `statistics` by name, and the
`best` model of the run, another `SavedResult`, or `nothing`. [`predict`](@ref) takes it if
the model is a named one, and `run(init = saved)` begins with it.
"""
struct SavedResult
    facts::Dict{String,Any}
    names::Vector{String}
    parameters::Vector{Array{Float32}}
    statistics::Vector{Pair{String,Array{Float32}}}
    best::Any
end

Base.show(io::IO, r::SavedResult) = print(io, "SavedResult(",
    length(r.facts["history"]), " rounds on ", r.facts["dataset"], ", params ",
    first(r.facts["params_sha256"], 12), "…)")

accuracy(r::SavedResult) = r.facts["accuracy"]

"The options of a saved result that decide its predictions; the rest may name objects."
function options_of(r::SavedResult)
    given = r.facts["options"]
    kept = ("model", "hidden", "embedding", "loss", "mean", "std", "seed")
    return Options(Dict{String,Any}(name => given[name] for name in kept))
end

"The contract of a saved result; of one by an older version, what is known of it."
function saved_contract(facts)
    details, given = facts["details"], facts["options"]
    haskey(details, "input") && return InputContract(details["input"])
    get(given, "normalise", "none") == "none" ||
        fail("the run normalized its data by the clients' mean and standard deviation, ",
            "which this file, of an older version, does not hold")
    return InputContract(nothing, nothing, given["mean"], given["std"])
end

"The result in a file that [`save`](@ref) or Python's `Result.save` wrote."
function result_in_file(path)
    isfile(path) || fail("there is no file ", path)
    bytes = read(path)
    header, arrays = try
        first(read_header(bytes)), read_tensors(bytes)
    catch err
        err isa FedFluxError || rethrow()
        fail(path, " is not a result that fedflux saved: ", err.message)
    end
    text = get(get(header, "__metadata__", Dict()), "fedflux", nothing)
    facts = text isa AbstractString ? parse_json(path, text) : nothing
    whole =
        facts isa AbstractDict && get(facts, "format", 0) == RESULT_FORMAT &&
        all(haskey(facts, n) for n in ("names", "history", "options", "params_sha256"))
    whole || fail(path, " is not a result that fedflux saved, or a newer one")
    return readable(() -> result_of(path, Dict{String,Any}(facts), arrays), path)
end

function result_of(path, facts, arrays)
    best = get(facts, "best", nothing)      # not in files of older versions
    best === nothing && return saved_part(path, facts, arrays, "", nothing)
    prefix = best["apart"] === true ? "best/" : ""
    own = saved_part(path, merge(facts, best), arrays, prefix, nothing)
    return saved_part(path, facts, arrays, "", own)
end

"One model of a file, whose arrays' names have this prefix."
function saved_part(path, facts, arrays, prefix, best)
    names = String[name for name in facts["names"]]
    running = String[name for name in get(facts, "statistics", ())]
    array(name) = held(Array{Float32}, arrays, prefix * name)
    parameters = Array{Float32}[array(name) for name in names]
    joint_sha256(parameters) == facts["params_sha256"] ||
        fail(path, " is damaged: its parameters don't have the recorded SHA-256")
    statistics = Pair{String,Array{Float32}}[name => array(name) for name in running]
    isempty(running) ||
        joint_sha256(last.(statistics)) == get(facts, "statistics_sha256", "") ||
        fail(path, " is damaged: its statistics don't have the recorded SHA-256")
    return SavedResult(facts, names, parameters, statistics, best)
end

"""
The model that the options name or describe, for samples of this size (in NumPy's order of
axes), with these parameters, and statistics, by name.
"""
function named_model(o::Options, sample, outputs, parameters)
    is_text(o.model) || fail("the model is your own, which a file does not hold")
    model = build_model(o.model, Tuple(Int.(reverse(sample))), outputs; o.hidden,
        o.embedding, rng = Stream(o.seed, :init))
    return with_initial(model, parameters)
end

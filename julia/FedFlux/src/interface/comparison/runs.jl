# One run of a comparison: its folder, and what is kept of it.

const RESULT_FILE = "result.safetensors"

"""
    ComparedRun

A run of a comparison: the name of its `configuration`, its `seed` and its `folder` below
that of the comparison; `accuracy`,
`loss`, `personal_accuracy` and `epsilon` after the last evaluated round; `rounds`,
`bytes_up`, `bytes_down` and `seconds` in total; `stopped` and `params_sha256` as in a
result; `curve`, figures of each round by name. If it has no result, `error` says why.
"""
Base.@kwdef struct ComparedRun
    configuration::String
    seed::Int
    folder::Union{Nothing,String} = nothing
    error::Union{Nothing,String} = nothing
    accuracy::Union{Nothing,Float64} = nothing
    loss::Union{Nothing,Float64} = nothing
    personal_accuracy::Union{Nothing,Float64} = nothing
    epsilon::Union{Nothing,Float64} = nothing
    rounds::Int = 0
    bytes_up::Int = 0
    bytes_down::Int = 0
    seconds::Float64 = 0.0
    stopped::String = ""
    params_sha256::String = ""
    curve::Dict{String,Vector} = Dict{String,Vector}()
end

const CURVES = ("round", "accuracy", "test_loss", "train_loss", "personal_accuracy",
    "epsilon", "bytes_up", "bytes_down")

"What is kept of a run, from the facts of its result as JSON gives them."
function ComparedRun(configuration, seed, folder, facts::AbstractDict)
    history = facts["history"]
    curve = Dict{String,Vector}(
        name => [number(get(r, name, nothing)) for r in history] for name in CURVES)
    curve["loss"] = map(something_or_nothing, curve["test_loss"], curve["train_loss"])
    curve["seconds"] = cumsum([
        Float64(r["seconds_train"] + r["seconds_aggregate"] + r["seconds_eval"])
        for r in history])
    final(name) = last_known(curve[name])
    total(name) = sum(r -> Int(r[name]), history; init = 0)
    return ComparedRun(; configuration, seed, folder, accuracy = final("accuracy"),
        loss = something_or_nothing(final("test_loss"), final("train_loss")),
        personal_accuracy = final("personal_accuracy"), epsilon = final("epsilon"),
        rounds = length(history), bytes_up = total("bytes_up"),
        bytes_down = total("bytes_down"), seconds = facts["seconds"],
        stopped = facts["stopped"], params_sha256 = facts["params_sha256"], curve)
end

something_or_nothing(a, b) = a === nothing ? b : a

const NOT_NUMBERS = Dict("NaN" => NaN, "Infinity" => Inf, "-Infinity" => -Inf)

"A number of a record as JSON gives it: a loss that isn't finite is there by its name."
number(x::Real) = x
number(x::AbstractString) = NOT_NUMBERS[x]
number(::Nothing) = nothing

function last_known(values)
    i = findlast(!isnothing, values)
    return i === nothing ? nothing : Float64(values[i])
end

"The facts of the finished run in a folder, or `nothing` if there is none."
function finished_facts(folder)
    folder === nothing && return nothing
    path = joinpath(folder, RESULT_FILE)
    return isfile(path) ? load_result(path).facts : nothing
end

"A run is asked to end before its time; its checkpoints stay."
struct RunStopped <: Exception end

"""
Run a configuration with a seed, or go on from its checkpoints, and save the result in its
folder; without a folder nothing is written. Returns the facts.
"""
function run_with_seed(c::Configuration, seed, folder, threads, data, hooks::RunHooks)
    # Runs side by side share no object that one of them may change.
    own(name, v) = name === :dataset || is_text(v) ? v : deepcopy(v)
    options = Dict{Symbol,Any}(name => own(name, v) for (name, v) in c.options)
    merge!(options, Dict(:seed => seed, :threads => threads))
    if folder !== nothing
        options[:checkpoint] = folder
        isempty(checkpoint_rounds(folder)) || (options[:resume] = folder)
        get!(options, :checkpoint_keep, 1)
    end
    result = run_locked(Options(options), nothing, hooks; data,
        given = collect(keys(c.options)))
    result.stopped == "callback" && throw(RunStopped())
    folder === nothing || save(joinpath(folder, RESULT_FILE), result)
    return JSON.parse(JSON.json(result_facts(result)))
end

# A run's state in a folder: `round-000012.json` and `round-000012.safetensors` beside it, after round 12.

const CHECKPOINT_FORMAT = 1

"""
    Checkpoints(folder; every = 1, keep = 3, run = Dict())

Where and when a run writes checkpoints: after every `every`-th round and the last, the newest `keep` and the best (by
test accuracy, or test loss where there is none) stay. `run` is what decides the run's numbers, to be compared on a resume.

A checkpoint is two files. The JSON holds its own SHA-256, that of the arrays, the round, the history and the rules'
states; the safetensors file the arrays, the parameters among them by name and in model order, with NumPy's axes. The
JSON is written last: without it there is no checkpoint.
"""
Base.@kwdef mutable struct Checkpoints
    folder::String
    every::Int = 1
    keep::Int = 3
    run::Dict{String,Any} = Dict{String,Any}()
    failed::String = ""       # how the last save failed
end
Checkpoints(folder; kw...) = Checkpoints(; folder, kw...)

json_path(folder, round) = joinpath(folder, "round-$(lpad(round, 6, '0')).json")
arrays_path(folder, round) = joinpath(folder, "round-$(lpad(round, 6, '0')).safetensors")

"The rounds after which there is a checkpoint in `folder`, rising."
function checkpoint_rounds(folder)
    isdir(folder) || return Int[]
    names = filter(!isnothing, match.(r"^round-(\d{6,12})\.json$", readdir(folder)))
    return sort!([parse(Int, m[1]) for m in names])
end

"""
    save_checkpoint(c::Checkpoints, f, st, engine, history, seconds)

Write the state after this round, and remove what `c` need not keep. Throws a [`FedFluxError`](@ref) where the folder
can't be written or a rule's state can't be stored.
"""
function save_checkpoint(c::Checkpoints, f::Federated, st::State, engine, history, seconds)
    arrays = Dict{String,Array}()
    content = Dict{String,Any}("format" => CHECKPOINT_FORMAT, "round" => st.round, "seconds" => seconds, "run" => c.run,
                               "history" => pack_history(history), "state" => pack_state(f, st, engine, arrays))
    try
        mkpath(c.folder)
        tensors = write_tensors(arrays)
        content["arrays"] = bytes2hex(sha256(tensors))
        write_durably(arrays_path(c.folder, st.round), tensors)
        write_durably(json_path(c.folder, st.round), sealed(JSON.json(content)))
        remove_old(c, history)
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
        fail("checkpoint: can't write ", c.folder, ": ", sprint(showerror, err))
    end
end

"""
Before the first round: write the state that the run begins with, which tells at once whether the folder can be written and
the rules' states can be stored. A run that goes on from a checkpoint has written before.
"""
function begin_checkpoints(c::Checkpoints, f, st, engine, history)
    pack(private_init(f.rules, st.θ), "private", Dict{String,Array}())
    isempty(history) && save_checkpoint(c, f, st, engine, history, 0.0)
    isdir(c.folder) && sweep(c.folder)
end

"""
Save after a round of a run. A full disk or a folder that became read-only is a warning, once, and the run goes on.
"""
function save_or_warn(c::Checkpoints, f, st, engine, history, seconds, warn)
    try
        save_checkpoint(c, f, st, engine, history, seconds)
        c.failed = ""
    catch err
        err isa FedFluxError || rethrow()
        c.failed == err.message || warn("$(err.message); the run goes on, and a resume would start from an earlier round")
        c.failed = err.message
    end
end

function pack_state(f, st, engine, arrays)
    θ = to_model!(similar(st.θ), engine, st.θ)
    for slot in f.layout.slots
        arrays["parameters/$(slot.name)"] = reshape(θ[slot.range], slot.dims)
    end
    arrays["stats"] = st.stats
    return Dict("shared" => pack(st.shared, "shared", arrays), "private" => pack(st.private, "private", arrays),
                "server" => pack(st.server, "server", arrays), "aggregator" => pack(st.aggregator, "aggregator", arrays))
end

pack_history(history) =
    Dict("fields" => collect(string.(fieldnames(Record))),
         "rows" => Any[Any[pack(getfield(r, name), "history", Dict{String,Array}()) for name in fieldnames(Record)] for r in history])

unpack_history(h) = Record[Record(; (Symbol(name) => unpack(v, Dict{String,Array}()) for (name, v) in zip(h["fields"], row))...) for row in h["rows"]]

# The text begins with the SHA-256 of all that follows it, and is JSON as a whole.
const SEAL = r"^\{\"sha256\":\"([0-9a-f]{64})\","

sealed(json) = (rest = SubString(json, 2); Vector{UInt8}("{\"sha256\":\"$(bytes2hex(sha256(rest)))\",$rest"))

function unsealed(path)
    text = read(path, String)
    m = isvalid(text) ? match(SEAL, text) : nothing
    m !== nothing && bytes2hex(sha256(SubString(text, ncodeunits(m.match) + 1))) == m[1] || fail(path, " is damaged: its SHA-256 differs")
    return parse_json(path, text)
end

"The round of the best record: highest accuracy, or lowest test loss where there is none; the first of equals."
function best_round(history)
    rated = filter(r -> r.test_loss !== nothing && isfinite(r.test_loss), history)
    isempty(rated) && return nothing
    figures = [r.accuracy === nothing ? -r.test_loss : r.accuracy for r in rated]
    return rated[argmax(figures)].round
end

function remove_old(c::Checkpoints, history)
    rounds = checkpoint_rounds(c.folder)
    saved = Set(rounds)
    best = best_round(filter(r -> r.round in saved, history))
    for round in rounds[1:max(end - c.keep, 0)]
        round == best && continue
        rm(json_path(c.folder, round); force = true)      # first: without it there is no checkpoint
        rm(arrays_path(c.folder, round); force = true)
    end
end

"Remove what a run that was killed left unfinished in `folder`."
function sweep(folder)
    rounds = Set(checkpoint_rounds(folder))
    for name in readdir(folder)
        m = match(r"^\.?round-(\d{6,12})\.(?:json|safetensors)(\.part)?$", name)
        m === nothing && continue
        (m[2] !== nothing || !(parse(Int, m[1]) in rounds)) && rm_quietly(joinpath(folder, name))
    end
end

"What a checkpoint file holds, checked and still encoded."
struct Saved
    path::String
    content::Any
    arrays::Dict{String,Array}
end

"""
    load_checkpoint(folder; warn = m -> @warn(m)) -> Saved or nothing

The newest checkpoint in `folder` that is whole; `nothing` where there is none at all. A damaged one is passed over with a
warning. Throws a [`FedFluxError`](@ref) where there are checkpoints and all are damaged.
"""
function load_checkpoint(folder; warn = m -> @warn(m))
    rounds = checkpoint_rounds(folder)
    for round in reverse(rounds)
        try
            return read_checkpoint(folder, round)
        catch err
            err isa InterruptException && rethrow()
            warn("the checkpoint after round $round is passed over: $(err isa FedFluxError ? err.message : first(split(sprint(showerror, err), '\n')))")
        end
    end
    isempty(rounds) && return nothing
    fail("resume: every checkpoint in ", folder, " is damaged; choose an empty folder to start anew")
end

function read_checkpoint(folder, round)
    path = json_path(folder, round)
    content = unsealed(path)
    get(content, "format", nothing) == CHECKPOINT_FORMAT ||
        fail(path, " has format ", get(content, "format", nothing), "; this FedFlux reads ", CHECKPOINT_FORMAT)
    content["round"] == round || fail(path, " is of round ", content["round"])
    bytes = isfile(arrays_path(folder, round)) ? read(arrays_path(folder, round)) : UInt8[]
    bytes2hex(sha256(bytes)) == content["arrays"] || fail(arrays_path(folder, round), " is damaged: its SHA-256 differs")
    return Saved(path, content, read_tensors(bytes))
end

"""
    restore(saved, f, engine) -> (st, history, seconds)

The state, the history and the seconds that a checkpoint holds, for the federation `f`. Throws a [`FedFluxError`](@ref)
where its arrays or states don't fit `f`.
"""
restore(saved::Saved, f::Federated, engine::Engine) = readable(() -> restored(saved, f, engine), saved.path)

function restored(saved, f, engine)
    (; content, arrays) = saved
    θ = Vector{Float32}(undef, f.layout.n)
    for slot in f.layout.slots
        a = get(arrays, "parameters/$(slot.name)", nothing)
        a isa Array{Float32} && size(a) == slot.dims ||
            fail("resume: ", saved.path, " holds another model: ", slot.name, " is ", a === nothing ? "missing" : summary(a), ", and the model's ", slot.dims)
        copyto!(θ, first(slot.range), a, 1, length(a))
    end
    state = content["state"]
    fresh = State(f, engine)
    read_back(name) = unpack(state[name], arrays)
    st = State(content["round"], to_engine!(similar(θ), engine, θ), take_array(arrays, "stats"), read_back("shared"),
               Dict{Int,Any}(read_back("private")), read_back("server"), read_back("aggregator"))
    length(st.stats) == length(fresh.stats) && length(st.shared) == length(fresh.shared) ||
        fail("resume: ", saved.path, " was written with other rules or another model")
    return st, unpack_history(content["history"]), Float64(content["seconds"])
end

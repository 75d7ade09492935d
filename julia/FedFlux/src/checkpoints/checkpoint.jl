# A run's state in a folder: `round-000012.json` and `round-000012.safetensors` after round
# 12, and the history of all rounds in `history.jsonl`.

const CHECKPOINT_FORMAT = 3
const FORCED_EVERY = 1.0        # seconds: a disk takes milliseconds for each file
const NONE = -1                 # no round

"""
    Checkpoints(folder; every = 1, keep = 3, run = Dict())

Where and when a run writes checkpoints: after every `every`-th round and the last. The
newest `keep` stay, and the best by the run's [`Monitor`](@ref). `run` is what decides the
numbers of the run; a resume compares it. Two runs
must not write to one folder at the same time: `FedFlux.run` locks it, and whoever calls
[`fit!`](@ref) may do so with a [`FolderLock`](@ref FedFlux.FolderLock).

A checkpoint is two files, and its part of the history file. The JSON file holds its own
SHA-256, that of the arrays, the round, how long its history is, with a hash, and the rules'
states; the safetensors file holds the arrays with NumPy's axes, the parameters among them
by name, and those of the best model. The JSON is written last: without it there is no
checkpoint. At most once a second, and at the end of a run, the newest is forced to the
disk, with the best; the newest that was forced stays until then. So a killed process loses
no checkpoint, and a power cut at most those of the last second or of the last round.
Those of a run with a guarantee of privacy are the user's alone (0600, in a folder of 0700).
"""
Base.@kwdef mutable struct Checkpoints
    folder::String
    every::Int = 1
    keep::Int = 3
    run::Dict{String,Any} = Dict{String,Any}()
    monitor::Monitor = Monitor()     # the run's
    failed::Bool = false      # whether the last save failed
    private::Bool = false     # whether the run guarantees privacy
    written::HistoryFile = HistoryFile()
    forced::Int = NONE        # the newest round that is on the disk for certain
    forced_at::Float64 = -Inf # when it came there, in seconds of the run
end
Checkpoints(folder; kw...) = Checkpoints(; folder, kw...)

round_path(folder, round, ending) = joinpath(folder, "round-$(lpad(round, 6, '0')).$ending")
json_path(folder, round) = round_path(folder, round, "json")
arrays_path(folder, round) = round_path(folder, round, "safetensors")

"The rounds with a checkpoint in `folder`, rising."
function checkpoint_rounds(folder)
    isdir(folder) || return Int[]
    names = filter(!isnothing, match.(r"^round-(\d{6,12})\.json$", readdir(folder)))
    return sort!([parse(Int, m[1]) for m in names])
end

"""
    save_checkpoint(c::Checkpoints, f, st, engine, progress)

Write the state after this round, force it to the disk if that is due, and remove what `c`
need not keep. Throws a [`FedFluxError`](@ref) if the folder can't be written or a rule's
state can't be stored.
"""
function save_checkpoint(c::Checkpoints, f::Federated, st::State, engine, progress)
    (; history, seconds) = progress
    arrays = Dict{String,Array}()
    content = Dict{String,Any}("format" => CHECKPOINT_FORMAT, "round" => st.round,
        "seconds" => seconds, "run" => c.run,
        "state" => pack_state(f, st, engine, arrays),
        "best" => pack_best(f, st, engine, progress.best, arrays),
        "names" => first.(all_parameters(f)),
        "statistics" => [Any[name, collect(size(a))] for (name, a) in
                                         named_statistics(f.model)],
        "fixed" => first.(named_fixed_moments(f.model)))
    writing(c.folder) do
        mkpath(c.folder; mode = c.private ? 0o700 : 0o777)
        c.written = add_rounds(c.written, c.folder, history; c.private)
        content["history"] = facts(c.written)
        tensors = write_tensors(arrays)
        content["arrays"] = bytes2hex(sha256(tensors))
        write(path, bytes) = write_durably(path, bytes; c.private, forced = false)
        write(arrays_path(c.folder, st.round), tensors)
        write(json_path(c.folder, st.round), sealed(JSON.json(content)))
        best = best_kept(c, history)
        if seconds - c.forced_at >= FORCED_EVERY
            force_newest(c, best)
            c.forced_at = seconds
        end
        remove_old(c, best)
    end
end

"Force the newest checkpoint to the disk, and the best if it is newer than the last forced."
function force_newest(c::Checkpoints, best)
    newest = last(checkpoint_rounds(c.folder))
    isfile(history_path(c.folder)) && force_file(history_path(c.folder))
    for round in unique((something(best, newest), newest))
        round > c.forced || continue
        force_file(arrays_path(c.folder, round))
        force_file(json_path(c.folder, round))
    end
    force_folder(c.folder)
    c.forced = newest
end

"At the end of a run, whatever ended it: force the newest checkpoint to the disk."
function end_checkpoints(c::Checkpoints, history, warn)
    maximum(checkpoint_rounds(c.folder); init = NONE) > c.forced || return
    or_warn(c, warn) do
        writing(c.folder) do
            best = best_kept(c, history)
            force_newest(c, best)
            remove_old(c, best)
        end
    end
end

"Call `f`, which writes to `folder`; a [`FedFluxError`](@ref) if that can't be."
function writing(f, folder)
    try
        return f()
    catch err
        err isa Union{SystemError,Base.IOError} || rethrow()
        fail("checkpoint: can't write ", folder, ": ", sprint(showerror, err))
    end
end

# Before the first round: writing the initial state shows at once whether the folder can be
# written and the rules' states can be stored. A resumed run has written before.
function begin_checkpoints(c::Checkpoints, f, st, engine, progress, monitor, private)
    c.monitor = monitor
    pack(private_init(f.rules, st.θ), "private", Dict{String,Array}())
    c.private = private
    (; history) = progress
    if isempty(history)
        save_checkpoint(c, f, st, engine, progress)
    elseif isdir(c.folder)
        writing(() -> c.written = matching_file(c.folder, history; private), c.folder)
    end
    isdir(c.folder) || return
    remove_unfinished(c.folder)
    private && close_folder(c.folder, is_of_checkpoints)
end

# track.json is Python's: where the run's track goes on.
is_of_checkpoints(name) =
    name in (LOCK_FILE, HISTORY_FILE, "track.json") ||
    occursin(r"^round-\d{6,12}\.(json|safetensors)$", name)

checkpoint_due(c::Checkpoints, st, stopped) = st.round % c.every == 0 || stopped !== nothing

"""
Save after a round. A full disk or a folder that became read-only is a warning, once, and
the run goes on.
"""
save_or_warn(c::Checkpoints, f, st, engine, progress, warn) =
    or_warn(() -> save_checkpoint(c, f, st, engine, progress), c, warn)

function or_warn(write, c, warn)
    try
        write()
        c.failed = false
    catch err
        err isa FedFluxError || rethrow()
        # Each round's message names other files.
        c.failed || warn(
            "$(err.message); the run goes on, and a resume would start from " *
            "an earlier round"
        )
        c.failed = true
    end
end

function pack_state(f, st, engine, arrays)
    for (name, a) in all_parameters(f, to_model!(similar(st.θ), engine, st.θ))
        arrays["parameters/$name"] = a
    end
    for (name, a) in named_fixed_moments(f.model)
        arrays["parameters/$name"] = a
    end
    arrays["stats"] = st.stats
    states = (; st.shared, st.private, st.server, st.aggregator, st.sampling)
    return Dict(
        string(name) => pack(state, string(name), arrays)
        for (name, state) in pairs(states)
    )
end

"""
The named parameters of the whole model, in its order: the flat `θ` (in model order), and
those that are frozen.
"""
function all_parameters(f::Federated, θ = flatten(f.model, f.layout.frozen))
    trains = Dict(s.name => reshape(θ[s.range], s.dims) for s in f.layout.slots)
    return [
        (name = join(path.keys, '.'); name => get(trains, name, a))
        for (path, a) in Optimisers.trainables(f.model; path = true)
    ]
end

"The best model; its arrays only if it isn't the model after this round."
function pack_best(f, st, engine, best, arrays)
    best === nothing && return nothing
    if best.round != st.round
        θ = to_model!(similar(best.θ), engine, best.θ)
        for slot in f.layout.slots
            arrays["best/$(slot.name)"] = reshape(θ[slot.range], slot.dims)
        end
        arrays["best_stats"] = best.stats
    end
    return Dict("round" => best.round, "value" => best.value)
end
# The text begins with the SHA-256 of all that follows it, and is JSON as a whole.
const SEAL = r"^\{\"sha256\":\"([0-9a-f]{64})\","

# Bytes are hashed, since SHA.jl takes 300 times as long for a part of a text.
function sealed(json)
    content = Vector{UInt8}(json)[2:end]
    return [Vector{UInt8}("{\"sha256\":\"$(bytes2hex(sha256(content)))\","); content]
end

function unsealed(path)
    bytes = read(path)
    text = String(copy(bytes))
    m = isvalid(text) ? match(SEAL, text) : nothing
    m !== nothing && bytes2hex(sha256(bytes[(ncodeunits(m.match)+1):end])) == m[1] ||
        fail(path, " is damaged: its SHA-256 differs")
    return parse_json(path, text)
end

"The best of the rounds that have a checkpoint."
function best_kept(c::Checkpoints, history)
    of(round) = searchsorted(history, (; round); by = r -> r.round)
    kept = history[concatenated(Int, of.(checkpoint_rounds(c.folder)))]
    return first(best_of(c.monitor, kept))
end

function remove_old(c::Checkpoints, best)
    rounds = checkpoint_rounds(c.folder)
    for round in rounds[1:max(end-c.keep, 0)]
        round in (best, c.forced) && continue
        rm(json_path(c.folder, round); force = true)   # first: without it, no checkpoint
        rm(arrays_path(c.folder, round); force = true)
    end
end

"Remove what a run that was killed left unfinished in `folder`."
function remove_unfinished(folder)
    rounds = Set(checkpoint_rounds(folder))
    for name in readdir(folder)
        m = match(r"^\.?round-(\d{6,12})\.(?:json|safetensors)(\.part)?$", name)
        m === nothing && continue
        unfinished = m[2] !== nothing || !(parse(Int, m[1]) in rounds)
        unfinished && rm_quietly(joinpath(folder, name))
    end
end

# Reading checkpoints back.

"The content of a checkpoint, verified and still packed."
struct SavedCheckpoint
    path::String
    content::Any
    arrays::Dict{String,Array}
    history::Vector{Record}
end

"""
    load_checkpoint(folder; warn = m -> @warn(m)) -> SavedCheckpoint or nothing

The newest intact checkpoint in `folder`, or `nothing` if there is none at all. A damaged
one is skipped with a warning. Throws a [`FedFluxError`](@ref) if all are damaged.
"""
function load_checkpoint(folder; warn = m -> @warn(m))
    rounds = checkpoint_rounds(folder)
    for round in reverse(rounds)
        try
            return read_checkpoint(folder, round)
        catch err
            err isa InterruptException && rethrow()
            reason =
                err isa FedFluxError ? err.message :
                first_line(err)
            warn("the checkpoint after round $round is skipped: $reason")
        end
    end
    isempty(rounds) && return nothing
    fail("resume: every checkpoint in ", folder,
        " is damaged; choose an empty folder to start anew")
end

function read_checkpoint(folder, round)
    path, arrays = json_path(folder, round), arrays_path(folder, round)
    content = Dict{String,Any}(unsealed(path))
    format = get(content, "format", nothing)
    format in (OLD_FORMAT, CHECKPOINT_FORMAT) || fail(path, " has format ", format,
        "; this FedFlux reads ", OLD_FORMAT, " and ", CHECKPOINT_FORMAT)
    content["round"] == round || fail(path, " is of round ", content["round"])
    bytes = isfile(arrays) ? read(arrays) : UInt8[]
    bytes2hex(sha256(bytes)) == content["arrays"] ||
        fail(arrays, " is damaged: its SHA-256 differs")
    told = content["history"]
    history = format == OLD_FORMAT ? old_history(told) : read_history(folder, told)
    return SavedCheckpoint(path, content, read_tensors(bytes), history)
end

# Until format 3 each checkpoint held the whole history.
const OLD_FORMAT = 2
old_history(told) =
    Record[unpack_record(Symbol.(told["fields"]), row) for row in told["rows"]]

"""
    restore(saved, f, engine) -> (st, progress)

The state and the [`Progress`](@ref) that a checkpoint holds, for the federation `f`. Throws
a [`FedFluxError`](@ref) if its arrays or states don't fit `f`.
"""
restore(saved::SavedCheckpoint, f::Federated, engine::Engine) =
    readable(() -> restored(saved, f, engine), saved.path)

function restored(saved, f, engine)
    content, arrays = saved.content, copy(saved.arrays)     # each is taken once
    θ = Vector{Float32}(undef, f.layout.n)
    for slot in f.layout.slots
        a = get(arrays, "parameters/$(slot.name)", nothing)
        a isa Array{Float32} && size(a) == slot.dims ||
            fail("resume: ", saved.path, " holds another model: ", slot.name, " is ",
                a === nothing ? "missing" : summary(a), ", and the model's ", slot.dims)
        copyto!(θ, first(slot.range), a, 1, length(a))
    end
    state = content["state"]
    fresh = State(f, engine)
    read_back(name) = unpack(state[name], arrays)
    st = State(content["round"], to_engine!(similar(θ), engine, θ),
        take_array(arrays, "stats"), read_back("shared"),
        Dict{Int,Any}(read_back("private")), read_back("server"),
        read_back("aggregator"))
    length(st.stats) == length(fresh.stats) && length(st.shared) == length(fresh.shared) ||
        fail("resume: ", saved.path, " was written with other rules or another model")
    return st, Progress(copy(saved.history), Float64(content["seconds"]))
end

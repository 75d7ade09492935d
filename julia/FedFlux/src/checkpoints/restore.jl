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
    θ = saved_parameters(saved, f.layout, "parameters")
    state = content["state"]
    fresh = State(f, engine)
    read_back(name) = unpack(state[name], arrays)
    st = State(content["round"], to_engine!(similar(θ), engine, θ),
        take_array(arrays, "stats"), read_back("shared"),
        Dict{Int,Any}(read_back("private")), read_back("server"),
        read_back("aggregator"),
        haskey(state, "sampling") ? read_back("sampling") : nothing)
    length(st.stats) == length(fresh.stats) && length(st.shared) == length(fresh.shared) ||
        fail("resume: ", saved.path, " was written with other rules or another model")
    return st,
    Progress(copy(saved.history), Float64(content["seconds"]),
        restored_best(saved, f, st, engine))
end

"The flat vector, in model order, of the arrays that a checkpoint holds under `prefix`."
function saved_parameters(saved, layout::Layout, prefix)
    θ = Vector{Float32}(undef, layout.n)
    for slot in layout.slots
        a = get(saved.arrays, "$prefix/$(slot.name)", nothing)
        a isa Array{Float32} && size(a) == slot.dims ||
            fail("resume: ", saved.path, " holds another model: ", slot.name, " is ",
                a === nothing ? "missing" : summary(a), ", and the model's ", slot.dims)
        copyto!(θ, first(slot.range), a, 1, length(a))
    end
    return θ
end

"""
    saved_model(saved, prefix = "parameters", stats = "stats")
        -> (; names, parameters, statistics)

The model that a checkpoint holds: its parameters in model order, and its statistics by
name. The prefix `best` and the statistics `best_stats` give the best one.
"""
saved_model(saved::SavedCheckpoint, prefix = "parameters", stats = "stats") =
    readable(saved.path) do
        (; content, arrays) = saved
        haskey(content, "names") || fail(saved.path, " is of an older fedflux, which did ",
            "not record the order of the parameters: resume the run for a round first")
        # What is frozen is the same in both.
        array(name) =
            get(arrays, "$prefix/$name") do
                held(Array{Float32}, arrays, "parameters/$name")
            end
        names = String[expect(AbstractString, name) for name in content["names"]]
        flat, at = held(Vector{Float32}, arrays, stats), 0
        statistics = Pair{String,Array{Float32}}[]
        for (name, dims) in content["statistics"]
            n = prod(Int.(dims); init = 1)
            push!(statistics, name => reshape(flat[(at+1):(at+n)], Int.(dims)...))
            at += n
        end
        append!(statistics, [name => array(name) for name in content["fixed"]])
        (; names, parameters = Array{Float32}[array(name) for name in names], statistics)
    end

"The array of this name in a file, of type `T`."
held(T, arrays, name) = expect(T,
    get(() -> fail("checkpoint: the array ", name, " is missing"), arrays, name))

"The model that a checkpoint holds as a Dict of arrays by name."
function saved_arrays(saved::SavedCheckpoint)
    (; names, parameters, statistics) = saved_model(saved)
    return merge(Dict{String,Any}(zip(names, parameters)), Dict(statistics))
end

"The best model so far; `nothing` if there is none, or an older version wrote it."
function restored_best(saved, f, st, engine)
    best = get(saved.content, "best", nothing)
    best === nothing && return nothing
    round, value = expect(Int64, best["round"]), Float64(best["value"])
    if round == st.round
        (; θ, stats) = returned_state(f, st)
        return Best(round, value, copy(θ), copy(stats))
    end
    θ = saved_parameters(saved, f.layout, "best")
    stats = held(Vector{Float32}, saved.arrays, "best_stats")
    length(stats) == length(st.stats) || fail("resume: ", saved.path, " is damaged: its ",
        "best model has ", length(stats), " statistics")
    return Best(round, value, to_engine!(similar(θ), engine, θ), stats)
end

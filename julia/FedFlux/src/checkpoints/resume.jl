# What a resume compares: a run goes on bit for bit only with the options, the data and the trainer that it began with.

"The options whose change on a resume changes no number of any round."
free_options() = [name for (name, spec) in OPTIONS if get(spec, "free", false)]

"""
    recorded_options(folder) -> Dict{String,Any} or nothing

The options of the run whose checkpoints lie in `folder`; `nothing` where it has none yet.
"""
function recorded_options(folder)
    saved = load_checkpoint(folder; warn = Returns(nothing))
    saved === nothing && return nothing
    return readable(saved.path) do
        Dict{String,Any}(name => v for (name, v) in saved.content["run"]["options"] if haskey(OPTIONS, name) && !(name in ("checkpoint", "resume")))
    end
end

"The options `given`, and for a resume those of its run where none was given."
function with_recorded(given)
    folder = get(given, :resume, nothing)
    recorded = folder isa AbstractString ? recorded_options(folder) : nothing
    recorded === nothing && return given
    return merge(Dict{Symbol,Any}(Symbol(k) => v for (k, v) in recorded if v !== nothing), given)
end

"The folder that checkpoints go to, or `nothing`."
function checkpoint_folder(o)
    o[:checkpoint] === nothing && return o[:resume]
    o[:resume] === nothing || abspath(o[:resume]) == abspath(o[:checkpoint]) ||
        fail("checkpoint is ", o[:checkpoint], " and resume is ", o[:resume], "; expected one folder: a resumed run goes on writing where it was")
    rounds = checkpoint_rounds(o[:checkpoint])
    isempty(rounds) || o[:resume] !== nothing ||
        fail("checkpoint: ", o[:checkpoint], " holds a run's checkpoints, up to round ", last(rounds), "; go on with resume, or choose another folder")
    return o[:checkpoint]
end

"What decides a run's numbers, as a checkpoint records it."
run_facts(o, objects, crew, clients, test) =
    Dict{String,Any}("options" => Dict{String,Any}(string(k) => v for (k, v) in o),
                     "objects" => Dict{String,Any}(string(k) => as_recorded(k, v) for (k, v) in objects if k !== :dataset), "trainer" => crew.trainer, "data" => fingerprint_of(clients, test), "versions" => versions())

# Rules and the like tell their settings; a model is compared by its arrays; a function has no lasting name.
as_recorded(name, object) = name in (:rules, :server, :augment, :sampling, :availability, :aggregate) ? repr(object) : "given"

# CRC-32C: it must tell changed data, not withstand an attack, and reads gigabytes in a second.
fingerprint_of(clients::Clients, test) =
    join((string(checksum(a); base = 16, pad = 8) for a in (clients.x, clients.y, clients.order, clients.starts, something(test, ())...)), '-')

checksum(a::Array) = GC.@preserve a crc32c(unsafe_wrap(Array, Ptr{UInt8}(pointer(a)), sizeof(a)))
checksum(a) = checksum(collect(a))

"Throw a [`FedFluxError`](@ref) that names the first thing that differs from the run in the checkpoint; warn of other versions."
check_unchanged(saved::Saved, now, warn) = readable(() -> compare(saved, now, warn), saved.path)

function compare(saved, now, warn)
    then = saved.content["run"]
    for name in sort!(collect(keys(now["options"])))
        get(OPTIONS[name], "free", false) && continue
        before = get(then["options"], name, get(OPTIONS[name], "default", nothing))
        before == now["options"][name] ||
            fail("option ", name, " is ", repr(now["options"][name]), ", and the run in ", dirname(saved.path), " has ", repr(before),
                 ": a resume can't change it; leave it out, or start anew in another folder")
    end
    for (name, what) in (("objects", "what is given as Julia objects"), ("data", "dataset: the data or its split"), ("trainer", "the trainer"))
        then[name] == now[name] ||
            fail("resume: ", what, " changed since the checkpoints in ", dirname(saved.path), " were written",
                 name == "data" ? "" : " (was $(then[name]), is $(now[name]))", "; give the same, or start anew in another folder")
    end
    old = Dict{String,Any}(then["versions"])
    old == now["versions"] || warn("the checkpoint was written with $(listed(old)), and this is $(listed(now["versions"])): the numbers may differ in the last digits")
end

listed(versions) = join(("$k $v" for (k, v) in sort!(collect(versions); by = first)), ", ")

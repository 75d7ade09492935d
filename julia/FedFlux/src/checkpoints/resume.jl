# What a resume compares: a run continues bit for bit only with the options, the data and
# the trainer that it began with.

"The options that a resume may change: they change no number of any round."
resumable(name) = get(DECLARED_OPTIONS[name], "resumable", false)

"""
    recorded_options(folder) -> (options, files) or nothing

The options of the run whose checkpoints lie in `folder`, but for those that name what is
outside of the run: machines, processes, folders. A checkpoint may be somebody else's, and
resuming it must not start a program or read a file that it names. `files` are those options
whose values are files, which the caller has to name again. `nothing` where there is no
checkpoint yet.
"""
function recorded_options(folder)
    saved = load_checkpoint(folder; warn = Returns(nothing))
    saved === nothing && return nothing
    return readable(saved.path) do
        all = saved.content["run"]["options"]
        inside(name, value) = haskey(DECLARED_OPTIONS, name) && !is_outside(name, value)
        options = Dict{String,Any}(
            name => value for (name, value) in all if inside(name, value))
        files = Dict{String,Any}(
            name => value for (name, value) in all if names_file(name, value))
        options, files
    end
end

is_outside(name, value) =
    get(DECLARED_OPTIONS[name], "outside", false) || names_file(name, value)

function names_file(name, value)
    declared = get(DECLARED_OPTIONS, name, Dict{String,Any}())
    haskey(declared, "inside") && value !== nothing || return false
    isspec = startswith(declared["type"], "spec")
    isspec && return !(lowercase(strip(first(split(string(value), '(')))) in
             declared["inside"])
    name = match(r"^(\w+)(?:\(.*\)|:\w+)?$"s, string(value))     # fcube(80), emnist:letters
    return name === nothing || !(name[1] in declared["inside"])
end

"The options `given`, and for a resume those of its run that were not given."
function with_recorded(given::AbstractDict{Symbol})
    folder = get(given, :resume, nothing)
    recorded = folder isa AbstractString ? recorded_options(folder) : nothing
    recorded === nothing && return given
    options, files = recorded
    for (name, value) in files
        haskey(given, Symbol(name)) || fail("resume: the run in ", folder, " has ", name,
            " = ", repr(value), ", a file: name it again, since a checkpoint may come ",
            "from somebody else and opens no files by itself")
    end
    return merge(Dict{Symbol,Any}(Symbol(k) => v for (k, v) in options if v !== nothing),
        given)
end

"The folder for checkpoints, or `nothing`."
function checkpoint_folder(o::Options)
    (; checkpoint, resume) = o
    checkpoint === nothing && return resume
    resume === nothing || abspath(resume) == abspath(checkpoint) ||
        fail("checkpoint is ", checkpoint, " and resume is ", resume,
            "; expected one folder: a resumed run goes on writing where it was")
    return checkpoint
end

"Check that a run that resumes nothing has its folder for checkpoints to itself."
function check_unused(folder, o::Options)
    o.resume === nothing || return
    rounds = checkpoint_rounds(folder)
    isempty(rounds) ||
        fail("checkpoint: ", folder, " holds a run's checkpoints, up to round ",
            last(rounds), "; go on with resume, or choose another folder")
end

"What decides a run's numbers, as a checkpoint records it."
function run_facts(o::Options, trainer, clients, test, versions, validation = nothing)
    objects = Dict{String,Any}(
        name => as_recorded(name, object)
        for (name, object) in object_options(o) if name != "dataset" && !resumable(name)
    )
    return Dict{String,Any}("options" => plain_options(o), "objects" => objects,
        "trainer" => trainer, "data" => data_checksum(clients, test, validation),
        "versions" => versions)
end

# Rules and the like show their settings; a model is compared by its arrays; a function has
# no lasting name, but metrics are given by name.
const SHOWN =
    ("rules", "server", "optimizer", "augment", "sampling", "availability", "aggregate")
as_recorded(name, object) =
    name in SHOWN ? repr(object) : name == "metrics" ? names_in(object) : "given"

# CRC-32C: it must reveal changed data, not withstand an attack, and is fast.
data_checksum(clients::Clients, test, validation) =
    join(
        (
            string(checksum(a); base = 16, pad = 8)
            for a in (clients.x, clients.y, clients.order, clients.starts,
                something(test, ())..., something(validation, ())...)
        ), '-')

checksum(a::Array) =
    GC.@preserve a crc32c(unsafe_wrap(Array, Ptr{UInt8}(pointer(a)), sizeof(a)))
checksum(a) = checksum(collect(a))

# Of some of the samples, spread over all: to read a whole file may take hours.
const CHECKED_SAMPLES = 4096

function checksum(x::Mapped)
    n = numobs(x)
    some = unique(round.(Int, range(1, n; length = min(n, CHECKED_SAMPLES))))
    return checksum([Float64.(vec(getobs(x, some))); n])
end

"""
    check_same_run(saved, facts, warn)

Throw a [`FedFluxError`](@ref) that names the first thing in which a run with these `facts`
differs from the run in the checkpoint; warn of other versions.
"""
check_same_run(saved::SavedCheckpoint, facts, warn) =
    readable(saved.path) do
        compare_runs(saved.content["run"], dirname(saved.path), facts, warn)
    end

"Compare what decided the run in `folder`, `then`, with what decides it `now`."
function compare_runs(then, folder, now, warn)
    for name in sort!(collect(keys(now["options"])))
        resumable(name) && continue
        default = get(DECLARED_OPTIONS[name], "default", nothing)
        before, value = get(then["options"], name, default), now["options"][name]
        before == value ||
            fail("option ", name, " is ", repr(value), ", and the run in ", folder, " has ",
                repr(before), ": a resume can't change it; leave it out, or start anew ",
                "in another folder")
    end
    for (name, what) in ("objects" => "what is given as objects",
        "data" => "dataset: the data or its split",
        "trainer" => "the trainer")
        then[name] == now[name] && continue
        shown(x) = x isa AbstractDict ? (isempty(x) ? "nothing" : listed(x)) : x
        change = name == "data" ? "" : " (was $(shown(then[name])), is $(shown(now[name])))"
        fail("resume: ", what, " changed since the checkpoints in ", folder,
            " were written", change, "; give the same, or start anew in another folder")
    end
    old = Dict{String,Any}(then["versions"])
    old == now["versions"] ||
        warn(
            "the checkpoint was written with $(listed(old)), and this is " *
            "$(listed(now["versions"])): the numbers may differ in the last digits"
        )
end

listed(versions) = join(("$k $v" for (k, v) in sort!(collect(versions); by = first)), ", ")

# Worker processes of Julia's Distributed: started here, on other machines over SSH, or
# added by the user. What they do for a federation is in federation/workers/process_pool.jl.

"""
A worker process: its `id` in Distributed (0: lost), and `start() -> id`, which starts one
in its place, or `nothing` if the user has added the process, and will end it.
"""
mutable struct WorkerProcess
    id::Int
    const start::Union{Nothing,Function}
end

"""
    worker_processes!(found, launches, workers, machines) -> found

Add the worker processes to `found`, ready to train.

- `launches`: notes those that are started, from their launch on ([`Launches`](@ref)).
- `workers`: how many to start on this machine; or those that the user has added, as a list
  of process ids or an `AbstractWorkerPool`; or `nothing`.
- `machines`: a file that [`read_machines`](@ref) reads, or `nothing`.

Those started are in `found` even if this throws a [`FedFluxError`](@ref): for a process
that can't be started, doesn't exist, or can't load the same version of this package.
"""
function worker_processes!(found, launches, workers, machines)
    add_workers!(found, launches, workers)
    for (machine, count) in (machines === nothing ? () : read_machines(machines))
        start!(found, launches, count, (n, l) -> start_on(machine, n, l), machine)
    end
    problems = asyncmap(p -> problem_with(p.id), found)
    foreach(problem -> problem === nothing || fail(problem), problems)
    return found
end

add_workers!(found, _, ::Nothing) = found
add_workers!(found, launches, n::Integer) =
    0 <= n ? start!(found, launches, n, start_here) :
    fail("workers is ", n, "; expected a number of processes from 0 on")
add_workers!(found, launches, pool::AbstractWorkerPool) =
    add_workers!(found, launches, Distributed.workers(pool))
add_workers!(found, _, workers) =
    fail("workers is a ", typeof(workers), "; expected a number of processes, a list of ",
        "process ids, or a worker pool of Distributed")

function add_workers!(found, _, ids::AbstractVector{<:Integer})
    for id in unique(ids)
        id in Distributed.procs() && id != Distributed.myid() ||
            fail("workers holds process ", id, "; expected worker processes, which ",
                "addprocs adds: there are $(setdiff(Distributed.procs(), 1))")
        push!(found, WorkerProcess(id, nothing))
    end
    return found
end

"Start `n` processes by `start(n, launches)`, which returns their ids, on a machine."
function start!(found, launches, n, start, machine = "this machine")
    n == 0 && return found
    ids = started(start, n, launches)
    again() = only(started(start, 1, Launches()))
    append!(found, [WorkerProcess(id, again) for id in ids])
    length(ids) == n ||
        fail("only ", length(ids), " of ", n, " worker processes could be started on ",
            machine)
    return found
end

function started(start, n, launches)
    launches.halted && fail("interrupted")
    Distributed.myid() == 1 ||
        fail("only the main process, number 1, can start worker processes; this is ",
            Distributed.myid())
    # Who knows the cookie may run code in every process: no guess from a seed.
    Distributed.nprocs() == 1 &&
        Distributed.cluster_cookie(randstring(Random.RandomDevice(), 16))
    try
        return start(n, launches)
    catch err
        (err isa InterruptException || launches.halted) && rethrow()
        # A command that fails is shown with its environment, which may hold secrets.
        why = replace(first_line(cause(err)), r"setenv\((`.*?`),.*" => s"\1")
        fail("worker processes can't be started: ", why)
    end
end

# Each on one thread, as Distributed does with BLAS: clients are what runs in parallel.
const TOPOLOGY = :master_worker
start_here(n, launches) = addprocs(TrackedManager(LocalManager(n, true), launches);
    exeflags = `--threads=1`, topology = TOPOLOGY)

# The connection runs through SSH, so nothing travels in the clear, and the process listens
# on its machine's 127.0.0.1 alone. Julia and the project are where they are here.
start_on(machine, n, launches) = addprocs(
    TrackedManager(SSHManager([("$machine 127.0.0.1", n)]), launches);
    tunnel = true, dir = "/", topology = TOPOLOGY,
    exeflags = `--threads=1 --project=$(Base.active_project())`,
    sshflags = `-o BatchMode=yes`,
    env = ["JULIA_DEPOT_PATH" => join(DEPOT_PATH, ':'),
        "JULIA_LOAD_PATH" => join(LOAD_PATH, ':')])

const MACHINE = r"^((?:\w[\w.-]*@)?(?:\w[\w.-]*|\[[\da-fA-F:]+\])(?::\d+)?)(?:\s+(\d+))?$"

"""
    read_machines(path) -> [(machine, count), …]

The machines of a file: a line `[user@]host[:port] [count]` for each, with the number of
processes there, 1 by default. Empty lines and what follows a `#` don't count.
"""
function read_machines(path)
    isfile(path) || fail("machines is ", path, ", and there is no such file")
    found = Tuple{String,Int}[]
    for (i, line) in enumerate(eachsplit(read_text(path), '\n'))
        line = strip(first(split(line, '#')))
        isempty(line) && continue
        m = match(MACHINE, line)
        count = m === nothing ? nothing : tryparse(Int, something(m[2], "1"))
        count === nothing && fail(path, ", line ", i, " is ", repr(line),
            "; expected [user@]host[:port] and the number of processes there")
        push!(found, (m[1], count))
    end
    isempty(found) && fail("machines is ", path, ", which names none")
    return found
end

"Versions that must agree on all processes of a run."
versions_here() =
    (; julia = VERSION, FedFlux = pkgversion(@__MODULE__), Flux = pkgversion(Flux))

"The kind of this machine's processor."
processor() = string(Sys.ARCH, " ", Sys.CPU_NAME)

"Load this package on a process; `nothing`, or why the process can't take part."
function problem_with(id)
    try
        package = Base.PkgId(@__MODULE__)
        Distributed.remotecall_eval(Main, id, :(Base.require($package); nothing))
        here, there = versions_here(), remotecall_fetch(versions_here, id)
        return there == here ? nothing :
               "worker process $id has $there, and this one $here: they must agree"
    catch err
        err isa InterruptException && rethrow()
        return "worker process $id can't load FedFlux: $(first_line(cause(err))); start " *
               "it with this project, e.g. addprocs(2; exeflags = \"--project=…\")"
    end
end

cause(err) = err
cause(err::RemoteException) = cause(err.captured.ex)
cause(err::TaskFailedException) = cause(err.task.result)
cause(err::CompositeException) = cause(first(err.exceptions))

"Whether this error of a call means that the process has ended."
is_lost(err, id) =
    err isa Union{ProcessExitedException,Base.IOError,EOFError} ||
    !(id in Distributed.procs())

"Give up a process that has ended, or doesn't answer."
function abandon!(p::WorkerProcess)
    p.start !== nothing && p.id in Distributed.procs() && rmprocs([p.id]; waitfor = 0)
    p.id = 0
end

"Start another process in the place of one that is lost; whether one is there."
function restart!(p::WorkerProcess)
    abandon!(p)
    p.start === nothing && return false
    try
        id = p.start()
        problem_with(id) === nothing && (p.id = id)
    catch err
        err isa InterruptException && rethrow()
    end
    return p.id != 0
end

"End the processes that were started for the run; one that doesn't answer is killed later."
function end_processes(processes)
    ids = [p.id for p in processes if p.start !== nothing && p.id in Distributed.procs()]
    foreach(p -> p.id = 0, processes)
    isempty(ids) && return
    try
        rmprocs(ids; waitfor = 5)
    catch err
        err isa InterruptException && rethrow()
        @warn "worker processes $ids don't end: $(first_line(err))"
    end
end

# A client's training in a worker process: what travels there and back.
#
# A process gets the federation and the clients' data once, as a Replica; in each round the
# server's parameters, statistics and the rules' shared state once; with each client the
# private state of its rules. Back come the update and the new private state, which stays
# with the main process, where checkpoints find it.

"How many processes may end while they train one client, before the run does."
const MAX_LOST = 3
"Seconds between looks at whether the run is to stop, and until a silent process is left."
const LOOK, PATIENCE = 0.05, 5.0

buffer_of(::ProcessSlot, st::State) = Update(; delta = Float32[], stats = Float32[])

"""
Client `k`'s part of the round in the slot's process. One that ends is replaced, and the
client trained again; if none is left, this process trains it. The numbers are the same.
"""
function attempt!(slot::ProcessSlot, buffer, f, from, clients, k, private, n, control,
    current_stats)
    (; processes) = slot
    (; round, θ, stats, shared) = from
    facts = (; round, θ, stats, shared, current_stats)
    lost = 0
    while lost < MAX_LOST
        w = worker_for(processes, slot.i)
        w === nothing && return @lock processes.standby_lock attempt!(processes.standby,
            buffer_of(processes.standby, from), f, from, clients, k, private, n,
            control,
            current_stats)
        @lock w.lock begin
            w.process.id == 0 && continue            # lost while this task waited
            outcome = ask!(processes, w, f, clients, facts, (k, private, n), control)
            outcome === nothing || return outcome
            (@atomic control.stop) && return abandon!(w.process)
            restart!(processes, w)
            lost += 1
        end
    end
    fail("client ", k, ": ", lost, " worker processes ended while they trained it, by a ",
        "crash or for lack of memory; train with fewer processes, or in this one ",
        "(workers = 0), and resume from a checkpoint")
end

"The worker's answer for a client, or `nothing` if its process has ended."
function ask!(processes, w, f, clients, facts, client, control)
    (; key, trainer) = processes
    (; id) = w.process
    try
        if w.run !== (f, clients)
            call(open_replica!, id, key, control, packed(f), clients, trainer)
            w.run, w.facts = (f, clients), (;)
        end
        changed = changed_facts(w.facts, facts)
        answer = call(train_replica!, id, key, control, changed, client)
        w.facts = facts
        return answer
    catch err
        is_lost(err, id) && return nothing
        throw(explained(err, id, w.run === nothing))
    end
end

"The facts that differ from those known, by identity."
changed_facts(known, facts) = NamedTuple(
    name => facts[name] for name in keys(facts)
    if get(known, name, nothing) !== facts[name]
)

function packed(f)
    io = IOBuffer()
    serialize(io, f)
    return take!(io)
end

"""
`g(key, args...)` in process `id`. When the run is to stop, the process is told; one that
doesn't answer then is given up.
"""
function call(g, id, key, control, args...)
    answer = Channel{Any}(3)
    report(err) = put!(answer, (nothing, err))
    @async try
        put!(answer, (remotecall_fetch(g, id, key, args...), nothing))
    catch err
        report(err)
    end
    looks = Timer(LOOK; interval = LOOK)
    @async try
        watch(control, looks, () -> remote_do(stop_replica!, id, key))
        report(ProcessExitedException(id))
    catch err       # Ctrl-C reaches the task that waited last, which may be this one
        err isa EOFError || report(err)
    end
    try
        found, err = take!(answer)
        err === nothing || throw(err)
        return found
    finally
        close(looks)
    end
end

"Return some time after the run is to stop, which `tell` tells; throw when `looks` closes."
function watch(control, looks, tell)
    until(condition) =
        while !condition()
            wait(looks)
        end
    until(() -> @atomic control.stop)
    tell()
    told = clock()
    until(() -> clock() - told > PATIENCE)
end

function explained(err, id, opening)
    err = cause(err)
    err isa Union{FedFluxError,InterruptException,OutOfMemoryError} && return err
    what =
        "worker process $id " *
        (opening ? "can't take this run: " : "can't answer: ") * first_line(err)
    return FedFluxError(
        what * "; if the model, the loss or a rule is of your own, its " *
        "code must be loaded there too: `using Distributed; addprocs(2); " *
        "@everywhere using MyPackage` (or include), then workers = workers()"
    )
end

# In the worker process.

"What a process holds of a run: all that training needs, and what it knows of the round."
mutable struct Replica{F,C,W,U}
    const f::F
    const clients::C
    const worker::W
    const buffer::U
    const control::Control
    facts::NamedTuple
end

const REPLICAS = Dict{UInt64,Replica}()

open_replica!(key, bytes, clients, trainer) =
    invokelatest(open_replica!, key, deserialize(IOBuffer(bytes)), clients, trainer)

function open_replica!(key, f::Federated, clients, trainer)
    BLAS.set_num_threads(1)      # more would change the sums
    pool = WorkerPool(f, clients; threads = 1)
    pool.trainer == trainer || fail("worker process ", Distributed.myid(), " would train ",
        "with the engine ", pool.trainer, ", and the run's is ", trainer)
    worker = only(pool.workers)
    buffer = buffer_of(worker, State(f, pool))
    REPLICAS[key] = Replica(f, clients, worker, buffer, pool.control, (;))
    return nothing
end

function train_replica!(key, changed, (k, private, n))
    replica = REPLICAS[key]
    (; f, clients, worker, buffer, control) = replica
    @atomic control.stop = false
    replica.facts = merge(replica.facts, changed)
    (; round, θ, stats, shared, current_stats) = replica.facts
    st = State(round, θ, stats, shared, Dict{Int,Any}(), nothing, nothing)
    return portable(
        attempt!(worker, buffer, f, st, clients, k, private, n, control, current_stats))
end

portable(trained::Trained) = trained
portable(err::FedFluxError) = err
portable(err) = ErrorException(first_line(err))     # it may hold what can't travel

function stop_replica!(key)
    replica = get(REPLICAS, key, nothing)
    replica === nothing || (@atomic replica.control.stop = true)
    return nothing
end

close_replica!(key) = (delete!(REPLICAS, key); nothing)

"""
    close(pool)

End the processes that were started for the pool, and let those that the user has added
forget its data.
"""
function Base.close(pool::WorkerPool)
    pool.processes === nothing && return
    (; workers, key) = pool.processes
    processes = [w.process for w in workers]
    for p in processes
        p.start === nothing && p.id in Distributed.procs() &&
            remote_do(close_replica!, p.id, key)
    end
    end_processes(processes)
end

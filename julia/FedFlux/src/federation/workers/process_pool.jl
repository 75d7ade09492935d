# The worker processes of a run as the round meets them: slots that train one client after
# another, each in a process of its own. remote.jl has what travels.

"A worker process, and what it holds already."
mutable struct RemoteWorker
    const process::WorkerProcess
    const lock::ReentrantLock      # one client at a time
    run::Any                       # the (f, clients) that it holds, or nothing
    facts::NamedTuple              # of this round
end
RemoteWorker(p::WorkerProcess) = RemoteWorker(p, ReentrantLock(), nothing, (;))

"""
The worker processes of a run. `standby`, a worker of the main process, trains when none is
left; `key` names the run on them; `notes` say what happened to them.
"""
struct ProcessPool{W<:Worker}
    workers::Vector{RemoteWorker}
    standby::W
    standby_lock::ReentrantLock
    trainer::String
    key::UInt64
    notes::Vector{String}
end

"A place in the pool: it trains clients in its own process or, if that is lost, in another."
struct ProcessSlot{P<:ProcessPool}
    processes::P
    i::Int
end

"The pool of the processes that are asked for, or `nothing` if none are."
function process_pool(workers, machines, standby, trainer, control, tick)
    workers === nothing && machines === nothing && return nothing
    workers == 0 && machines === nothing && return nothing
    processes, launches = WorkerProcess[], Launches()
    halt() = halt!(launches)
    try
        in_parallel(1, control, tick; spawn = false, halt) do _
            worker_processes!(processes, launches, workers, machines)
        end
        isempty(processes) && fail("workers is an empty list; expected process ids")
    catch
        end_processes(processes)
        rethrow()
    end
    return ProcessPool(RemoteWorker.(processes), standby, ReentrantLock(), trainer,
        rand(Random.RandomDevice(), UInt64), other_processors(processes))
end

"A warning if the processors are of different kinds, in a list."
function other_processors(processes)
    others = setdiff((remotecall_fetch(processor, p.id) for p in processes), [processor()])
    return String[
        string("worker processes run on ", other, ", and this one on ", processor(),
            ": processors of different kinds may add in another order, and differ in the ",
            "last digits") for other in others
    ]
end

slots(pool::ProcessPool) = [ProcessSlot(pool, i) for i in eachindex(pool.workers)]

"The worker for slot `i`: its own, or the next that isn't lost, if there is one."
function worker_for(pool::ProcessPool, i)
    n = length(pool.workers)
    j = findfirst(j -> pool.workers[mod1(i + j, n)].process.id != 0, 0:(n-1))
    return j === nothing ? nothing : pool.workers[mod1(i + j - 1, n)]
end

"A new round: what the processes hold of the last one has changed."
forget_round!(pool::ProcessPool) = foreach(w -> w.facts = (;), pool.workers)

"The worker's process has ended: start another, or leave its clients to the others."
function restart!(pool::ProcessPool, w::RemoteWorker)
    id = w.process.id
    w.run, w.facts = nothing, (;)
    there = restart!(w.process)
    left = count(w -> w.process.id != 0, pool.workers)
    push!(
        pool.notes,
        string("worker process ", id, " ended during the run; ",
            there ? "another has taken its place" :
            left > 0 ? "$left others train its clients" :
            "no other is left, and this process trains the clients")
    )
end

"What happened to the processes since the last call."
drain_notes!(pool::ProcessPool) = splice!(pool.notes, eachindex(pool.notes))

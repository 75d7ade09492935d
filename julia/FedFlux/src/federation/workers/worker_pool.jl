# The pool of workers that train clients: one per thread, or worker processes.

"""
The workers of a run, all with engines of one kind, and how to stop them and to interrupt
the run. If there are worker processes, clients train there; the workers of this process,
one per thread, do what else there is to do, such as evaluation.
"""
struct WorkerPool{W<:Worker,P<:Union{Nothing,ProcessPool}}
    workers::Vector{W}
    processes::P
    trainer::String
    reason::String
    control::Control
    tick::Any
end

"""
    WorkerPool(f, clients; threads = Threads.nthreads(), workers = nothing,
               machines = nothing, tick = nothing)
    WorkerPool(f, x; …)

The pool for the clients of a federation; the samples `x` are enough if nothing is
augmented. `tick`: see [`in_parallel`](@ref).

- `workers`: processes that train the clients instead of this one's threads: a number of
  processes to start on this machine, or those that `Distributed.addprocs` (or a cluster
  manager) has added, as a list of process ids or an `AbstractWorkerPool`.
- `machines`: a file of machines to start processes on over SSH, see
  [`read_machines`](@ref).

Each process keeps a copy of the data and of the settings; data must not change meanwhile.
`close(pool)` ends the processes that were started. Throws a [`FedFluxError`](@ref) for
more threads than Julia has, and for a process that can't be started or can't load FedFlux.
"""
WorkerPool(f::Federated, clients::Clients; options...) =
    WorkerPool(f, clients.x, clients.y; options...)

function WorkerPool(f::Federated, x, y = nothing; threads = Threads.nthreads(),
    workers = nothing, machines = nothing, tick = nothing)
    1 <= threads <= Threads.nthreads() ||
        fail("threads is ", threads, ", and Julia runs with ", Threads.nthreads(),
            ": start Julia with more, by `julia --threads ", threads, "`, or in Python by ",
            "JULIA_NUM_THREADS=", threads, " in the environment")
    workers in (nothing, 0) || must_be_in_memory(x, "workers")
    machines === nothing || must_be_in_memory(x, "machines")
    n = min(f.train.batchsize, numobs(x))
    n = min(largest_batch(example_privacy(f.rules), n), numobs(x))
    soft = soft_labels(f)
    engine, trainer, reason =
        make_engine(f.trainer, f.model, f.loss, x, n, f.layout.frozen)
    another() =
        first(make_engine(Symbol(trainer), f.model, f.loss, x, n, f.layout.frozen))
    others = typeof(engine)[another() for _ = 2:threads]
    nclasses = soft ? size(f.model(getobs(x, 1:1)), 1) : 0
    own = map([engine; others]) do e
        Worker(e, Augmenter(f.train.augment, f.loss, x, y, n, nclasses))
    end
    control = Control()
    processes = process_pool(workers, machines, first(own), trainer, control, tick)
    return WorkerPool(own, processes, trainer, reason, control, tick)
end

"""
    in_pool(work, pool, n)

Call `work(worker, j)` for j in 1:n, spread over the pool's workers; an exception ends all.
"""
function in_pool(work, pool::WorkerPool, n)
    next = Threads.Atomic{Int}(1)
    in_parallel(min(length(pool.workers), n), pool.control, pool.tick) do i
        while (j = Threads.atomic_add!(next, 1)) <= n && !should_stop(pool.control)
            work(pool.workers[i], j)
        end
    end
end

soft_labels(f) = mixes(f.train.augment) && f.loss isa CrossEntropy

"""
What a run says before its first round if the fast engine doesn't take its model: why, and
what that costs. `nothing` if it does, or if Zygote was asked for.
"""
function slow_start(f::Federated, pool::WorkerPool)
    f.trainer === :auto && pool.trainer == "zygote" || return nothing
    return "the first round compiles for about a minute, and steps are several times " *
           "slower than the fast engine's, which does not take this model: $(pool.reason)"
end

engine(pool::WorkerPool) = first(pool.workers).engine

"What trains the clients of a new round: this process's threads, or the processes' slots."
function trainers!(pool::WorkerPool)
    pool.processes === nothing && return pool.workers
    forget_round!(pool.processes)
    return slots(pool.processes)
end

nworkers(pool::WorkerPool) =
    pool.processes === nothing ? 0 : length(pool.processes.workers)

"What happened to worker processes since the last call, as messages."
drain_notes!(pool::WorkerPool) =
    pool.processes === nothing ? String[] : drain_notes!(pool.processes)

State(f::Federated, pool::WorkerPool) = State(f, engine(pool))

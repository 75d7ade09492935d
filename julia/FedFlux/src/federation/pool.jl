# The pool of workers that train clients, one per thread.

"""
The workers of a run, all with engines of one kind, and how to stop them and to interrupt
the run.
"""
struct WorkerPool{W<:Worker}
    workers::Vector{W}
    trainer::String
    reason::String
    control::Control
    tick::Any
end

"""
    WorkerPool(f, clients; threads = Threads.nthreads(), tick = nothing)
    WorkerPool(f, x; …)

The pool for the clients of a federation; the samples `x` are enough where nothing is
augmented. `tick`: see [`in_parallel`](@ref). Throws a [`FedFluxError`](@ref) for more
threads than Julia has.
"""
WorkerPool(f::Federated, clients::Clients; options...) =
    WorkerPool(f, clients.x, clients.y; options...)

function WorkerPool(f::Federated, x, y = nothing; threads = Threads.nthreads(),
    tick = nothing)
    1 <= threads <= Threads.nthreads() ||
        fail("threads is ", threads, ", and Julia runs with ", Threads.nthreads(),
            ": start Julia with more, e.g. `julia --threads ", threads, "`")
    n = min(f.train.batchsize, numobs(x))
    n = min(largest_batch(example_privacy(f.rules), n), numobs(x))
    soft = soft_labels(f)
    engine, trainer, reason =
        soft ? zygote_for_soft_labels(f) :
        make_engine(f.trainer, f.model, f.loss, x, n)
    another() = first(make_engine(Symbol(trainer), f.model, f.loss, x, n))
    others = typeof(engine)[another() for _ = 2:threads]
    nclasses = soft ? size(f.model(getobs(x, 1:1)), 1) : 0
    workers = map([engine; others]) do e
        Worker(e, Augmenter(f.train.augment, f.loss, x, y, n, nclasses))
    end
    return WorkerPool(workers, trainer, reason, Control(), tick)
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

function zygote_for_soft_labels(f)
    f.trainer === :fast &&
        fail("trainer is fast, and mixup's soft labels need Zygote: use trainer = auto")
    return ZygoteEngine(f.model, f.loss), "zygote", "mixup's soft labels"
end

engine(pool::WorkerPool) = first(pool.workers).engine

State(f::Federated, pool::WorkerPool) = State(f, engine(pool))

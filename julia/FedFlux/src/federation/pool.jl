# Which engine trains, and the crew of workers, one to a thread.

"The error of an engine that doesn't take a model: `reason` says which layer, loss or data."
struct Unsupported <: Exception
    reason::String
end

"""
    make_engine(trainer, model, loss, x, batchsize) -> (engine, name, reason)

The engine for `model` on samples like those of `x`: `:fast`, `:zygote`, or `:auto`, the fast one wherever it takes the
model. `reason` says why it wasn't taken. Throws a [`FedFluxError`](@ref) for `:fast` where it can't be.
"""
function make_engine(trainer::Symbol, model, loss, x, batchsize)
    trainer === :zygote && return ZygoteEngine(model, loss), "zygote", "asked for"
    try
        return LayerEngine(model, loss, size(x)[1:end-1], batchsize), "fast", trainer === :fast ? "asked for" : "the fast engine takes this model"
    catch err
        err isa Unsupported || rethrow()
        trainer === :fast && fail("trainer is fast, and the fast engine does not take this model: ", err.reason, "; use trainer = auto")
        return ZygoteEngine(model, loss), "zygote", err.reason
    end
end

"The workers that a run's tasks use, all with engines of one kind, and how to stop and to interrupt them."
struct Crew{W<:Worker,T}
    workers::Vector{W}
    trainer::String
    reason::String
    control::Control
    tick::T
end

"""
    Crew(f, clients; threads = Threads.nthreads(), tick = nothing)
    Crew(f, x; …)

The crew for a federation's clients; the samples `x` alone are enough where nothing is augmented. `tick`: see [`in_parallel`](@ref).
"""
Crew(f::Federated, clients::Clients; options...) = Crew(f, clients.x, clients.y; options...)

function Crew(f::Federated, x, y = nothing; threads = Threads.nthreads(), tick = nothing)
    1 <= threads <= Threads.nthreads() ||
        fail("threads is ", threads, ", and Julia runs with ", Threads.nthreads(), ": start Julia with more, e.g. `julia --threads ", threads, "`")
    size_of_batch = min(f.train.batchsize, numobs(x))
    engine, trainer, reason = soft_labels(f) ? zygote_for_soft_labels(f) : make_engine(f.trainer, f.model, f.loss, x, size_of_batch)
    others = [first(make_engine(Symbol(trainer), f.model, f.loss, x, size_of_batch)) for _ in 2:threads]
    workers = map([engine; others]) do e
        Worker(e, Augmenter(f.augment, f.loss, x, y, size_of_batch, soft_labels(f) ? size(f.model(getobs(x, 1:1)), 1) : 0))
    end
    return Crew(workers, trainer, reason, Control(), tick)
end

soft_labels(f) = mixes(f.augment) && f.loss isa CrossEntropy

function zygote_for_soft_labels(f)
    f.trainer === :fast && fail("trainer is fast, and mixup's soft labels need Zygote: use trainer = auto")
    return ZygoteEngine(f.model, f.loss), "zygote", "mixup's soft labels"
end

engine(c::Crew) = first(c.workers).engine

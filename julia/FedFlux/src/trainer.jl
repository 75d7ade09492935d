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
struct Crew{E<:Engine,T}
    workers::Vector{Worker{E}}
    trainer::String
    reason::String
    control::Control
    tick::T
end

function Crew(f::Federated, x; threads = Threads.nthreads(), tick = nothing)
    1 <= threads <= Threads.nthreads() ||
        fail("threads is ", threads, ", and Julia runs with ", Threads.nthreads(), ": start Julia with more, e.g. `julia --threads ", threads, "`")
    size_of_batch = min(f.train.batchsize, numobs(x))
    engine, trainer, reason = make_engine(f.trainer, f.model, f.loss, x, size_of_batch)
    others = [first(make_engine(Symbol(trainer), f.model, f.loss, x, size_of_batch)) for _ in 2:threads]
    return Crew([Worker(e) for e in [engine; others]], trainer, reason, Control(), tick)
end

engine(c::Crew) = first(c.workers).engine

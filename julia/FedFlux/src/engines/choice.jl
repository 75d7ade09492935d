# Which engine trains a model.

"""
    make_engine(trainer, model, loss, x, batchsize, freeze = String[])
        -> (engine, name, reason)

The engine for `model` on samples like those of `x`: `:fast`, `:zygote`, or `:auto`, the
fast one for every model that it supports. `reason` says why this one. What `freeze` names
doesn't train. Throws a [`FedFluxError`](@ref) if `:fast` does not support the model.
"""
function make_engine(trainer::Symbol, model, loss, x, batchsize, freeze = String[])
    engine, name, reason = whole_engine(trainer, model, loss, x, batchsize)
    isempty(freeze) && return engine, name, reason
    return FrozenEngine(engine, model, freeze), name, reason
end

function whole_engine(trainer, model, loss, x, batchsize)
    trainer === :zygote && return ZygoteEngine(model, loss), "zygote", "asked for"
    try
        reason = trainer === :fast ? "asked for" : "the fast engine takes this model"
        return LayerEngine(model, loss, size(x)[1:(end-1)], batchsize), "fast", reason
    catch err
        err isa Unsupported || rethrow()
        trainer === :fast &&
            fail("trainer is fast, and the fast engine does not take this model: ",
                err.reason, "; use trainer = auto")
        return ZygoteEngine(model, loss), "zygote", err.reason
    end
end

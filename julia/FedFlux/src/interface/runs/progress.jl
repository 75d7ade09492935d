# The progress of a run as log messages of ProgressLogging.jl's protocol, which needs no
# package: a logger that knows it (TerminalLoggers.jl, VS Code) draws a bar, others drop it.

const PROGRESS_LEVEL = Logging.LogLevel(-1)

"""
    with_progress(f, rounds)

Call `f(advance)`, where `advance(record)` logs how many of the `rounds` are done, and with
which figures; a last message says that the run ended.

```julia
FedFlux.with_progress(advance -> nothing, 3)
```
"""
function with_progress(f, rounds)
    id = Symbol(:fedflux_, randstring(Random.RandomDevice(), 12))
    log(fraction, text = "round") =
        Logging.@logmsg PROGRESS_LEVEL text progress = fraction _id = id _group = :progress
    log(0.0)
    try
        return f(record -> log(record.round / rounds, sprint(show, record)))
    finally
        log("done")
    end
end

# A whole run from its options: what `FedFlux.run` and Python's `fedflux.run` both call.

"""
    run(; options...) -> RunResult

Run a federation until a stop condition holds. The options are those of Python's
`fedflux.run` and of the command line, with the same names and defaults
(src/options/options.toml declares them). Some take Julia objects in place of a name:

- `dataset`: a [`Dataset`](@ref);
- `model`: any Flux model with Float32 parameters;
- `loss`: a [`Loss`](@ref) or any function `loss(ŷ, y)`;
- `rules`, `augment`: a [`Rule`](@ref) or an [`Augmentation`](@ref), or a list of those and
  names;
- `server`: an Optimisers rule;  `download`: a [`Compressor`](@ref);
- `partition`: a function `partitioner(y, clients, rng)` that returns parts;
- `sampling`: a [`Sampling`](@ref);  `availability`: an [`Availability`](@ref);
- `aggregate`: an [`Aggregator`](@ref).

Further: `init`, a list of arrays in model order to start from; `callback(record) -> Bool`,
called after each round, `true` ends the run; `verbose = true` prints each round.

Throws a [`FedFluxError`](@ref) for a mistake in the options or the data.

```julia
FedFlux.run(dataset = "digits", rounds = 3, lr = 0.1)
```
"""
function run(; init = nothing, callback = Returns(false), verbose = false, options...)
    o = Options(with_recorded(Dict{Symbol,Any}(options)))
    o.engine == "reference" && fail("engine reference is Python's NumPy implementation; ",
        "in Julia leave engine out")
    announce(record) = (verbose && println(record); callback(record))
    started(facts) = foreach(w -> @warn(w), facts.warnings)
    warned(message) = @warn(message)
    return execute(o, init, RunHooks(; callback = announce, started, warned))
end

"""
Functions that a run calls: `callback(record)` after each round, `started(facts)` before the
first, `warned(message)` at each later warning, `tick()` several times per second.
"""
Base.@kwdef struct RunHooks{C,S,W,T}
    callback::C = Returns(false)
    started::S = Returns(nothing)
    warned::W = Returns(nothing)
    tick::T = nothing
end

"""
The run itself, from checked options; `data` takes the place of the data set they name. Its
folder for checkpoints is locked from before the first look into it.
"""
function execute(o::Options, init, hooks::RunHooks; data = nothing)
    folder, warnings = checkpoint_folder(o), String[]
    folder === nothing && return execute(o, init, hooks, data, folder, warnings)
    lock = FolderLock(folder; warn = w -> push!(warnings, w))
    try
        check_unused(folder, o)
        return execute(o, init, hooks, data, folder, warnings)
    finally
        release!(lock)
    end
end

function execute(o::Options, init, hooks::RunHooks, data, folder, warnings)
    begun = time()
    note(message) = (message in warnings || push!(warnings, message); nothing)

    # Each client gets its share of the data.
    saved = o.resume === nothing ? nothing : load_checkpoint(o.resume; warn = note)
    dataset = prepare_data(o; data, warn = note)
    clients, test, outputs = prepare_clients(o, dataset)

    # The model, its local training, the rules, the aggregator and the server's step.
    f = prepare_federated(o, dataset, outputs, init)
    needs_root(f.aggregate) && (clients = set_aside(clients, f.aggregate.root, o.seed))
    threads = something(o.threads, Threads.nthreads())
    pool = WorkerPool(f, clients; threads, hooks.tick)

    # A new run begins with the initial model, a resumed one with its last checkpoint.
    facts =
        folder === nothing ? Dict{String,Any}() :
        run_facts(o, pool.trainer, clients, test, versions())
    st, progress = State(f, pool), Progress()
    if saved !== nothing
        check_same_run(saved, facts, note)
        st, progress = restore(saved, f, engine(pool))
    end
    resumed, earlier = st.round, progress.seconds
    checkpoints =
        folder === nothing ? nothing :
        Checkpoints(folder; every = o.checkpoint_every, keep = o.checkpoint_keep,
            run = facts)
    hooks.started((; dataset = dataset.name, pool.trainer, trainer_reason = pool.reason,
        clients = length(clients), parameters = f.layout.n, threads, warnings))

    # Round after round: draw a cohort, train, aggregate, step, evaluate.
    warn(message) = message in warnings || (note(message); hooks.warned(message))
    sampling = cohort_sampling(o, length(clients))
    st, history, stopped =
        fit!(f, st, clients; stopping = stopping_of(o), test, o.eval_every, pool,
            sampling, hooks.callback, warn,
            checkpoints, progress)

    comparison = compare_with_baselines(o, f, st, clients, test, pool)
    return run_result(o, f, st, pool; history, stopped, dataset = dataset.name,
        comparison..., seconds = earlier + time() - begun, warnings,
        privacy = statement(promise(f, sampling, clients), st.round),
        holdings = holdings(clients), resumed)
end

"The result of a run with this state; the rest are fields of a [`RunResult`](@ref)."
function run_result(o::Options, f, st, pool; fields...)
    model = global_model(f, st, engine(pool))
    θ = flatten(model)
    small = any(r -> r isa PruneChannels, f.rules) ? shrink(model) : nothing
    return RunResult(; model, small, parameters = arrays(θ, f.layout),
        names = [s.name for s in f.layout.slots], params_sha256 = fingerprint(θ),
        pool.trainer, trainer_reason = pool.reason, threads = length(pool.workers),
        options = o, fields...)
end

"The accuracy of the clients' fine-tuned models, and the baselines, where asked for."
function compare_with_baselines(o::Options, f, st, clients, test, pool)
    o.finetune_epochs == 0 && isempty(o.baselines) && return (;)
    nclasses = test_classes(f, test, clients)
    nclasses == 0 && fail("finetune_epochs and baselines need test data with classes to ",
        "measure accuracy on")
    counts = labelcounts(clients, nclasses)
    baseline(name) =
        name == "centralized" ?
        centralized_baseline(pool, f, clients, st.round, test) :
        local_baseline(pool, f, clients, st.round, test, counts)
    tuned =
        o.finetune_epochs == 0 ? nothing :
        finetuned_accuracy(pool, f, st, clients, o.finetune_epochs, test, counts)
    baselines = Dict{String,NamedTuple}(name => baseline(name) for name in o.baselines)
    return (; finetuned_accuracy = tuned, baselines)
end

"Versions of Julia, FedFlux and the packages that decide the numbers."
function versions()
    packages = (; FedFlux = @__MODULE__, Flux, Zygote, Optimisers)
    found = Dict(string(name) => string(pkgversion(m)) for (name, m) in pairs(packages))
    return merge(found, Dict("julia" => string(VERSION)))
end

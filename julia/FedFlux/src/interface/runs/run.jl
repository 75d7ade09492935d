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
- `optimizer`: an Optimisers rule, which has a learning rate of its own in place of `lr`;
- `server`: an Optimisers rule;  `download`: a [`Compressor`](@ref);
- `partition`: a function `partitioner(y, clients, rng)` that returns parts;
- `sampling`: a [`Sampling`](@ref);  `availability`: an [`Availability`](@ref);
- `aggregate`: an [`Aggregator`](@ref);
- `metrics`: functions of the targets and the predictions by name, a NamedTuple, a Dict or
  pairs, such as `(; close = f)`; [`OfProbabilities`](@ref) gives one probabilities. The
  history has their figures, and `monitor` and `target_metric` may name them; as a monitor,
  more is better;
- `workers`: an `AbstractWorkerPool` of Distributed, or a list of process ids.

Further:

- `init`: parameters to begin anew from: a Dict of arrays by name, a list in model order, or
  a result, or the path of a saved one or of a folder of checkpoints. The statistics, such
  as BatchNorm's, may be among them by name; those of a result are.
- `resume`: a result, in place of a folder: the run goes on from its last round, with its
  options except those given here, as if it had never stopped.
- `callback(record)`: called after each round; `true` ends the run. A function of two
  arguments gets the model too, as a [`Snapshot`](@ref): `callback(record, model)`.
- `verbose = true` prints each round. Without it, a logger that draws progress bars shows
  them: `using TerminalLoggers; global_logger(TerminalLogger())`, or VS Code.

Throws a [`FedFluxError`](@ref) for a mistake in the options or the data.

```julia
FedFlux.run(dataset = "digits", rounds = 3, lr = 0.1)
```
"""
function run(; init = nothing, callback = Returns(false), verbose = false, options...)
    isempty(methods(callback)) && fail("callback is ", first(repr(callback), 80),
        "; expected a function of a round's record")
    given = Dict{Symbol,Any}(options)
    return run_options(given, Ref{Any}(init), Callback(callback), verbose)
end

"A run from its options, compiled once for all sets of options and all callbacks."
function run_options(options::Dict{Symbol,Any}, init::Ref{Any}, callback::Callback,
    verbose)
    given, previous = with_resumed(options)
    get(given, :workers, 0) isa AbstractVector{<:Integer} &&
        (given[:workers] = Distributed.WorkerPool(given[:workers]))
    o = Options(given)
    o.engine == "reference" && fail("engine reference is Python's NumPy implementation; ",
        "in Julia leave engine out")
    function started(facts)
        foreach(w -> @warn(w), facts.warnings)
        facts.slow_start === nothing || @info(facts.slow_start)
    end
    warned(message) = @warn(message)
    return with_progress(o.rounds) do advance
        announce(record) = (advance(record); verbose && println(record))
        calls =
            takes_model(callback.f) ?
            (record, model) -> (announce(record); callback(record, model)) :
            record -> (announce(record); callback(record))
        hooks = RunHooks(; callback = calls, started, warned)
        run_locked(o, init[], hooks; previous, given = collect(keys(options)))
    end
end

"""
Functions that a run calls: `callback(record)` after each round, `started(facts)` before the
first, `warned(message)` at each later warning, `tick()` several times per second. With
`keep_interrupted`, Ctrl-C ends the run with a result, `stopped = "interrupted"`.
"""
Base.@kwdef struct RunHooks
    callback::Any = Returns(false)
    started::Any = Returns(nothing)
    warned::Any = Returns(nothing)
    tick::Any = nothing
    keep_interrupted::Bool = false
end

"""
    run_locked(o::Options, init, hooks; data = nothing, previous = nothing, given = ())

A run from checked options. `data` takes the place of the data set that they name,
`previous` is a result to go on from, and `given` are the options to warn of if they have no
effect. The folder for checkpoints is locked before the first look into it.
"""
function run_locked(o::Options, init, hooks::RunHooks; data = nothing, previous = nothing,
    given = ())
    warnings = String[]
    check_objects(o)
    check_init(init, previous)
    folder = checkpoint_folder(o)
    begin_run() = prepare_and_run(o, init, hooks, data, folder, previous, given, warnings)
    folder === nothing && return begin_run()
    lock = FolderLock(folder; warn = w -> push!(warnings, w))
    try
        check_unused(folder, o)
        return begin_run()
    finally
        release!(lock)
    end
end

"Add a message to the warnings, once."
add_warning!(warnings, message) =
    (message in warnings || push!(warnings, message); nothing)

"What a run has before its first round."
struct Prepared
    begun::Float64          # clock() when the run began
    saved::Any              # the checkpoint to resume from, or nothing
    previous::Any           # the result to go on from, or nothing
    dataset::String         # its name
    input::InputContract
    names::Any              # of the clients
    own_test::Any           # the clients' own test data, or nothing
    f::Federated
    clients::Clients
    test::Any               # (x, y), or nothing
    validation::Any         # (x, y), or nothing
    threads::Int
end

function prepare_and_run(o::Options, init, hooks::RunHooks, data, folder, previous, given,
    warnings)
    begun = clock()
    note = Base.Fix1(add_warning!, warnings)

    # Each client gets its share of the data.
    saved = o.resume === nothing ? nothing : load_checkpoint(o.resume; warn = note)
    keep_integers = init !== nothing        # the outputs have their meaning already
    dataset, o = prepare_data(o; data, warn = note, keep_integers)
    append!(warnings, without_effect(given, o))
    data = prepare_clients(o, dataset; warn = note)
    (; clients, test) = data

    # The model, its local training, the rules, the aggregator and the server's step.
    init = with_frozen(o, init, saved, previous)
    f = prepare_federated(o, dataset, data.outputs, init, data.input; clients)
    check_measurable(o, f, or_else(data.validation, test), clients)
    needs_root(f.aggregate) && (clients = set_aside(clients, f.aggregate.root, o.seed))
    threads = something(o.threads, Threads.nthreads())
    pool = WorkerPool(f, clients; threads, o.workers, o.machines, hooks.tick)
    prepared = Prepared(begun, saved, previous, dataset.name, data.input,
        data.names, data.own_test, f, clients, test, data.validation, threads)
    try
        # Threads work on clients and samples; BLAS's own would change every figure.
        return with_blas_threads(1) do
            run_prepared(o, prepared, pool, hooks, folder, warnings)
        end
    finally
        close(pool)
    end
end

"The rounds of a run whose data, federation and workers are there, and its result."
function run_prepared(o::Options, prepared::Prepared, pool::WorkerPool, hooks, folder,
    warnings)
    (; begun, saved, previous, dataset, f, clients, test, validation, threads) = prepared
    note = Base.Fix1(add_warning!, warnings)

    # A new run begins with the initial model, a resumed one where it stopped.
    facts = run_facts(o, pool.trainer, clients, test, versions(), validation)
    sample = size(clients.x)[1:(end-1)]
    facts["dataset"], facts["sample"] = dataset, collect(reverse(sample))
    facts["input"] = plain_contract(prepared.input)
    (; classes) = prepared.input
    classes === nothing || (facts["classes"] = classes)
    st, progress = State(f, pool), Progress()
    if saved !== nothing
        check_same_run(saved, facts, note)
        st, progress = restore(saved, f, engine(pool))
    elseif previous !== nothing
        st, progress = continued(previous, facts, note)
    end
    resumed, earlier = st.round, progress.seconds
    checkpoints =
        folder === nothing ? nothing :
        Checkpoints(folder; every = o.checkpoint_every, keep = o.checkpoint_keep,
            run = facts)
    hooks.started((; dataset, pool.trainer, trainer_reason = pool.reason,
        clients = length(clients), parameters = f.layout.n, threads, resumed, warnings,
        slow_start = slow_start(f, pool)))

    # Round after round: draw a cohort, train, aggregate, step, evaluate.
    warn(message) = message in warnings || (note(message); hooks.warned(message))
    sampling = cohort_sampling(o, length(clients))
    (; input) = prepared
    unseen = or_else(validation, test)
    callback =
        takes_model(hooks.callback) ?
        (record, model) -> hooks.callback(record, Snapshot(model, record, o, input)) :
        hooks.callback
    st, history, stopped = or_interrupted(hooks, st, progress) do
        fit!(f, st, clients; stopping = stopping_of(o), test, validation, o.eval_every,
            pool, sampling, callback, warn, checkpoints, progress,
            metrics = run_metrics(o, f.loss, input.classes),
            membership = membership_attack(o, f, st, clients, unseen, pool))
    end
    left = nothing_left(previous, st)
    left === nothing || warn(left)
    check_trained(o, history)

    (; names, own_test) = prepared
    comparison, figures = (;), (;)
    if stopped != INTERRUPTED
        final = returned_state(f, st)
        comparison = compare_with_baselines(o, f, final, clients, test, own_test, pool)
        figures = figures_of_clients(o, f, final, clients, own_test, pool)
    end
    table = client_table(names, clients, history; own_test, figures...,
        hidden = hides_cohort(f.rules))
    unread = stopped == INTERRUPTED ? nothing : ValidationData(f, test, clients)
    return run_result(o, f, st, pool; history, stopped, dataset, clients = table,
        best = best_snapshot(o, f, st, pool, progress, input, unread),
        best_state = progress.best, comparison..., federation = f,
        seconds = earlier + clock() - begun, warnings,
        privacy = statement(guarantee(f, sampling, clients), st.round, reports(history)),
        holdings = holdings(clients), resumed, input,
        input.classes, sample, state = st, facts)
end

"The result of a run with this state; the rest are fields of a [`RunResult`](@ref)."
function run_result(o::Options, f, st, pool; fields...)
    model = global_model(f, returned_state(f, st), engine(pool))
    small = any(r -> r isa PruneChannels, f.rules) ? shrink(model) : nothing
    return RunResult(; model, small, arrays_of(model)..., pool.trainer,
        trainer_reason = pool.reason, threads = length(pool.workers),
        workers = nworkers(pool), options = o, fields...)
end

const INTERRUPTED = "interrupted"

"Whether an exception is Ctrl-C; the PythonCall extension adds Python's."
is_interrupt(err) = err isa InterruptException

"What `fit` returns or, if Ctrl-C ends it and a hook wants that, what it had reached."
function or_interrupted(fit, hooks, st, progress)
    try
        return fit()
    catch err
        hooks.keep_interrupted && is_interrupt(err) || rethrow()
        return st, progress.history, INTERRUPTED
    end
end

"Throw if a run is to stop by what is not measured."
function check_measurable(o, f, test, clients)
    for name in (:target_accuracy, :target_metric, :patience)
        getfield(o, name) === nothing || test !== nothing ||
            fail(name, ": expected test data to measure it on")
    end
    target = target_of(o)
    name =
        o.target_accuracy !== nothing ? "target_accuracy" :
        target !== nothing && target.name == "accuracy" ? "target_metric" : return
    counted_in_test(f, test, clients) > 0 ||
        fail(name, ": expected a loss with classes, and this one has none")
end

"Throw if no client was there in any round, so that nothing was learned."
function check_trained(o, history)
    isempty(history) || any(r -> r.clients > 0 || !isempty(r.rejected), history) ||
        fail("nobody trained in any of the ", length(history), " rounds: the model is as ",
            "it was (sampling is ", o.sampling, ", availability ", o.availability,
            isempty(o.faults) ? ")" : ", faults $(join(o.faults, ", ")))")
end

"Versions of Julia, FedFlux and the packages that decide the numbers."
function versions()
    packages = (; FedFlux = @__MODULE__, Flux, Zygote, Optimisers)
    found = Dict(string(name) => string(pkgversion(m)) for (name, m) in pairs(packages))
    return merge(found, Dict("julia" => string(VERSION)))
end

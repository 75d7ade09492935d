# Many runs side by side: a grid of options times seeds, on the threads of this process.

"""
    Comparison

What [`compare`](@ref) found: `rows`, the table (see [`comparison_rows`](@ref)), and `runs`
(see [`ComparedRun`](@ref)), both for any package of the Tables.jl interface; the `metric`,
the `target`, the `baseline`, the `seeds`, the `options` that all runs have, the `folder` or
`nothing`, `warnings`, and the `seconds` that it took.
"""
Base.@kwdef struct Comparison
    rows::Vector{<:NamedTuple}
    runs::Vector{ComparedRun}
    metric::String
    target::Union{Nothing,Float64}
    baseline::String
    seeds::Vector{Int}
    options::Dict{Symbol,Any}
    folder::Union{Nothing,String}
    warnings::Vector{String}
    seconds::Float64
end

Base.show(io::IO, ::MIME"text/plain", c::Comparison) = show_table(io, c)
Base.show(io::IO, c::Comparison) = print(io, "Comparison(", length(c.rows),
    " configurations, ", length(c.seeds), " seeds, by ", c.metric, ")")

"What is to be compared, checked."
struct ComparisonPlan
    configurations::Vector{Configuration}
    seeds::Vector{Int}
    options::Dict{Symbol,Any}
    metric::Union{Nothing,String}
    target::Union{Nothing,Float64}
    baseline::String
    folder::Union{Nothing,String}
    data::Any
    parallel::Int
    threads::Int                # of each run
end

"""
    compare(grid; seeds = 3, folder = nothing, target = nothing, metric = nothing,
            baseline = nothing, parallel = nothing, callback = Returns(false),
            verbose = false, options...) -> Comparison
    compare(file; ...)

Run every configuration of a grid with every seed, and compare what they reach.

- `grid`: lists of values by option, as a NamedTuple, a Dict or a vector of pairs, or a
  vector of such grids. "none" stands for no rules, and for an unset option. Or the path of
  a TOML file, as a comparison writes it into its folder.
- `seeds`: how many, from 1, or a list of them.
- `folder`: where each run has a folder of its own, with checkpoints and its result, and
  where the tables are written. If you call `compare` again with the same folder, finished
  runs are not repeated, and others go on from their checkpoints.
- `metric`: accuracy, personal_accuracy or loss. Default: accuracy if all runs have one,
  else loss.
- `target`: the metric that `rounds_to_target` counts the rounds to. Default: what the
  baseline ends with in the mean, rounded down to two digits (a loss up).
- `baseline`: the name of the configuration that others are compared with. Default: the
  first.
- `parallel`: the number of runs at the same time. Default: the number of threads. A run
  has the rest of the threads; with worker processes, or with the aggregator ckks, one run
  goes after another. The numbers are those of `FedFlux.run`, whatever their number.
- `callback(event)`: called in this task with NamedTuples of `kind` ("start", "round",
  "end", "kept", "failed", "warning" or "tick"), the `run`, how many there are (`of`), the
  `configuration`, the `seed` and the `payload`, such as the round's [`Record`](@ref). A
  "start" has the `options` that are texts and numbers, and the `folder`, an "end" a
  `summary`. `true` ends the comparison with what is finished.
- `verbose = true` prints a line for each run that ended.
- `options`: those of [`run`](@ref FedFlux.run), alike in all runs; Julia objects too, if
  there is no folder.

A run that fails is in the table with its reason, and the others go on. Throws a
[`FedFluxError`](@ref) for a mistake in the grid, and if no run ended.

```julia
FedFlux.compare((rules = ["none", "fedprox(mu=0.01)"],); seeds = 2, dataset = "digits",
    rounds = 2, partition = "dirichlet(0.1)")
```
"""
function compare(grid; callback = Returns(false), verbose = false, settings...)
    plan = ComparisonPlan(grid, Dict{Symbol,Any}(settings))
    return run_plan(plan) do event
        verbose && event.kind in ("end", "failed", "kept") && println(in_words(event))
        event.kind == "warning" && @warn event.payload
        wants_stop(callback(event))
    end
end

in_words(e) = "$(e.configuration), seed $(e.seed): $(e.payload) ($(e.run) of $(e.of))"

const PLANNED = (:seeds, :folder, :target, :metric, :baseline, :parallel, :data)

function ComparisonPlan(path::AbstractString, given::Dict{Symbol,Any})
    read = read_grid(path)
    return ComparisonPlan(read.grid, merge(read.settings, read.options, given))
end

function ComparisonPlan(grid, given::Dict{Symbol,Any})
    setting(name) = get(given, name, nothing)
    options = filter(p -> first(p) ∉ PLANNED, given)
    data, folder = setting(:data), setting(:folder)
    folder === nothing || (folder = abspath(string(folder)))
    content = data_digest(something(data, get(options, :dataset, "auto")))
    chosen = configurations(grid, options; data = content)
    folder === nothing || check_texts(chosen)
    seeds = seeds_of(something(setting(:seeds), 3))
    baseline = something(setting(:baseline), first(chosen).name)
    any(c -> c.name == baseline, chosen) ||
        fail("baseline: expected one of ", join((c.name for c in chosen), "; "), ", got ",
            repr(baseline))
    metric = setting(:metric)
    metric === nothing || metric in COMPARED ||
        fail("metric: expected one of ", join(COMPARED, ", "), ", got ", repr(metric))
    target = setting(:target)
    target === nothing || target isa Real && isfinite(target) ||
        fail("target: expected a number, got ", repr(target))
    threads = something(get(options, :threads, nothing), Threads.nthreads())
    parallel = something(setting(:parallel), threads)
    parallel isa Integer && parallel >= 1 ||
        fail("parallel: expected a number from 1, got ", repr(parallel))
    all(c -> Options(c.options).engine != "reference", chosen) ||
        fail("engine: a comparison needs the core, and reference is Python's NumPy engine")
    any(runs_alone, chosen) && (parallel = 1)
    parallel = min(parallel, length(chosen) * length(seeds))
    plan = ComparisonPlan(chosen, seeds, options, metric, target, baseline, folder, data,
        parallel, max(1, threads ÷ parallel))
    folder === nothing || write_grid(plan, grid, given)
    return plan
end

"The folder for a comparison's runs is there, and holds what is compared."
function write_grid(plan::ComparisonPlan, grid, given)
    settings = Dict(name => get(given, name, nothing) for
         name in (:target, :metric, :baseline))
    text = grid_text(map(as_axes, one_or_several(grid)), plan.options,
        merge(settings, Dict(:seeds => plan.seeds)))
    writing(plan.folder) do
        mkpath(plan.folder)
        write_durably(joinpath(plan.folder, GRID_FILE), Vector{UInt8}(text))
    end
end

seeds_of(n::Integer) =
    1 <= n <= 1000 ? collect(1:n) : fail("seeds: expected a number from 1 to 1000, got ", n)
seeds_of(list) =
    list isa Union{AbstractVector,Tuple,AbstractRange} && !isempty(list) &&
    all(s -> s isa Integer && !(s isa Bool), list) && allunique(list) ? collect(Int, list) :
    fail("seeds: expected how many, or a list of different integers, got ",
        first(repr(list), 80))

"Throw if a configuration holds an object: a folder keeps texts and numbers alone."
check_texts(configurations) =
    for c in configurations, (name, value) in c.options
        name === :dataset || is_text(value) ||
            fail(name, " is a Julia object, which the folder of a ",
                "comparison can't name: give its name as text, or leave folder out")
    end

"Stands for the user's own data in the names of folders: other data are other runs."
data_digest(name) = ""
data_digest(path::AbstractString) = isfile(path) ? bytes2hex(open(sha256, path)) : ""
data_digest(d::Dataset) =
    join(
        (
            string(checksum(a); base = 16) for
            a in (d.x, d.y, d.xtest, d.ytest, d.owner) if
            a isa Array && isbitstype(eltype(a))
        ), '-')

"Whether runs can't share the process: workers of their own, or calls into Python."
function runs_alone(c::Configuration)
    o = Options(c.options)
    here = o.workers in (nothing, 0) && o.machines === nothing
    return !here || built(o, :aggregate) isa CKKS
end

"""
Run what is planned, `plan.parallel` runs at a time; `notify(event)` is called in this task,
and ends the comparison by returning true.
"""
function run_plan(notify, plan::ComparisonPlan)
    plan.folder === nothing && return run_planned(notify, plan)
    lock = FolderLock(plan.folder; warn = Returns(nothing))
    try
        return run_planned(notify, plan)
    finally
        release!(lock)
    end
end

function run_planned(notify, plan::ComparisonPlan)
    begun, control = clock(), Control()
    # All configurations with the first seed come first: a table fills evenly.
    jobs = [(c, seed) for seed in plan.seeds for c in plan.configurations]
    runs = Vector{Union{Nothing,ComparedRun}}(nothing, length(jobs))
    events, warnings, next = Channel{Any}(Inf), String[], Threads.Atomic{Int}(1)
    function deliver(event)
        if event.kind == "warning"
            event.payload in warnings && return
            push!(warnings, event.payload)
        end
        notify(event) && (@atomic control.stop = true)
    end
    function tell()
        while isready(events)
            deliver(take!(events))
        end
        deliver((; kind = "tick", run = 0, of = length(jobs), configuration = "", seed = 0,
            payload = nothing))
    end
    work(_) =
        while !(@atomic control.stop)
            i = Threads.atomic_add!(next, 1)
            i > length(jobs) && break
            c, seed = jobs[i]
            report(kind, payload; more...) = put!(
                events,
                (; kind, run = i, of = length(jobs),
                    configuration = c.name, seed, payload, more...)
            )
            runs[i] = attempt_run(plan, c, seed, report, control)
        end
    # BLAS's threads are set once: runs that set them would undo each other.
    with_blas_threads(1) do
        in_parallel(work, plan.parallel, control, tell; spawn = plan.parallel > 1)
    end
    tell()
    ended = [
        r === nothing ?
        ComparedRun(; configuration = c.name, seed,
            error = "not run: the comparison was ended") : r for
        ((c, seed), r) in zip(jobs, runs)
    ]
    return comparison(plan, ended, warnings, clock() - begun)
end

"The run of a configuration with a seed, or what is known of it if it fails."
function attempt_run(plan, c::Configuration, seed, report, control)
    named = plan.folder === nothing ? nothing : joinpath("runs", c.folder, "seed-$seed")
    folder = named === nothing ? nothing : joinpath(plan.folder, named)
    hooks = RunHooks(; warned = message -> report("warning", message),
        started = facts ->
            (report("start", facts; options = text_options(c), folder = named);
                foreach(w -> report("warning", w), facts.warnings)),
        tick = () -> (@atomic control.stop) && throw(RunStopped()),
        callback = record -> (report("round", record); @atomic control.stop))
    failed(message) =
        ComparedRun(; configuration = c.name, seed, folder = named, error = message)
    try
        kept = finished_facts(folder)
        facts =
            kept === nothing ?
            run_with_seed(c, seed, folder, plan.threads, plan.data, hooks) : kept
        run = ComparedRun(c.name, seed, named, facts)
        report(kept === nothing ? "end" : "kept", sprint(show_figures, run);
            summary = run_summary(run))
        return run
    catch err
        err isa RunStopped && return failed("not finished: the comparison was ended")
        err isa InterruptException && rethrow()
        message = err isa FedFluxError ? err.message : first_line(err)
        report("failed", message)
        return failed(message)
    end
end

"The options of a configuration that aren't objects, by name."
text_options(c::Configuration) =
    Dict{String,Any}(string(n) => v for (n, v) in c.options if is_text(v))

run_summary(r::ComparedRun) = (; r.accuracy, r.loss, r.rounds, r.seconds, r.stopped,
    r.params_sha256)

function show_figures(io::IO, r::ComparedRun)
    r.accuracy === nothing || @printf(io, "accuracy %.4f, ", r.accuracy)
    r.loss === nothing || @printf(io, "loss %.4f ", r.loss)
    @printf(io, "after %d rounds in %.1f s", r.rounds, r.seconds)
end

"The table of runs, written to the folder if there is one."
function comparison(plan::ComparisonPlan, runs, warnings, seconds)
    ended = filter(r -> r.error === nothing, runs)
    isempty(ended) && fail("no run ended; ", first(runs).configuration, ", seed ",
        first(runs).seed, ": ", first(runs).error)
    metric = chosen_metric(plan.metric, runs)
    target = something(plan.target,
        Some(usual_target(of_configuration(runs, plan.baseline), metric)))
    rows = comparison_rows(plan.configurations, runs, plan.baseline, metric, target)
    c = Comparison(; rows, runs, metric, target, plan.baseline, plan.seeds, plan.options,
        plan.folder, warnings, seconds)
    plan.folder === nothing || write_comparison(plan.folder, c)
    return c
end

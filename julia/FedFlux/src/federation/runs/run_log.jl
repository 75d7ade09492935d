# What is noted after each round of a run, and when the run ends. The same for simulated
# rounds and for those of a deployment.

"""
    Progress(history = Record[], seconds = 0.0, best = nothing)

The rounds of a run so far: their [`Record`](@ref)s, the time they took, and the
[`Best`](@ref) model, if there is one yet.
"""
mutable struct Progress
    const history::Vector{Record}
    seconds::Float64
    best::Union{Nothing,Best}
end
Progress(history = Record[], seconds = 0.0) = Progress(history, seconds, nothing)

"""
    Callback(f)

A function of the user's behind a type that is always the same, so that a run meets the code
that was compiled at installation.
"""
struct Callback
    f::Any
end
(h::Callback)(arguments...) = h.f(arguments...)

# Checkpoints: where none are wanted, nothing is written. checkpoints/ adds the methods.
begin_checkpoints(::Nothing, f, st, engine, progress, monitor, private) = nothing
checkpoint_due(::Nothing, st, stopped) = false
function save_or_warn end
end_checkpoints(::Nothing, history, warn) = nothing

"""
    RunLog(f, st, clients; stopping, sampling, evaluation, eval_every, pool, warn,
           checkpoints, progress, membership = nothing, validation = nothing,
           metrics = (;))

The log of a run before its next round, after all checks; it has `stopped` if the run has
ended already. The arguments are those of [`fit!`](@ref); `evaluation` and `validation` are
[`TestData`](@ref) or `nothing`. Writes the first checkpoint.
"""
mutable struct RunLog       # fields of any type: its methods are compiled once
    f::Federated
    st::State
    pool::WorkerPool
    stopping::Stopping
    evaluation::Any         # a TestData, or nothing
    validation::Any         # a TestData, or nothing
    metrics::NamedTuple     # what measures outputs and targets in a round
    eval_every::Int
    privacy::Any            # a Guarantee, or nothing
    checkpoints::Any
    membership::Any         # a MembershipInference, or nothing
    warn::Callback
    warned::Set{Symbol}
    history::Vector{Record}
    reports::Vector{NamedTuple}     # what the aggregator told of each round
    progress::Progress      # of this history
    since::Int              # evaluations since the best one
    begun::Float64          # when it began, had it never paused
    stopped::Union{Nothing,String}
end

function RunLog(f, st, clients; stopping, sampling, evaluation, eval_every, pool, warn,
    checkpoints, progress, membership = nothing, validation = nothing, metrics = (;))
    check_cohort(f, sampling.clients_per_round, length(clients))
    privacy = guarantee(f, sampling, clients)
    exhausted(privacy, 0) &&
        fail("the privacy budget is ", privacy.budget, ", and one round costs ",
            round(epsilon_ahead(privacy, 0); sigdigits = 3), ": more noise, fewer clients ",
            "per round or a larger budget are needed")
    privacy === nothing || privacy.warning === nothing || warn(privacy.warning)
    told_before = worth_warning(f.aggregate, sampling.clients_per_round)
    told_before === nothing || warn(told_before)
    data = or_else(validation, evaluation)
    isempty(metrics) || data !== nothing ||
        fail("metrics: expected test or validation ",
            "data to measure ", join(keys(metrics), ", "), " on")
    check_monitor(f, st, pool, stopping.monitor, data)
    (; history, seconds) = progress
    _, since = best_of(stopping.monitor, history)
    stopped = reason_to_stop(stopping, history, seconds, since)
    exhausted(privacy, st.round, reports(history)) &&
        (stopped = something(stopped, "budget"))
    begin_checkpoints(checkpoints, f, st, engine(pool), progress, stopping.monitor,
        privacy !== nothing)
    return RunLog(f, st, pool, stopping, evaluation, validation, metrics, eval_every,
        privacy,
        checkpoints, membership, warn, Set{Symbol}(), history, reports(history), progress,
        since, clock() - seconds, stopped)
end

"Throw before the first round if the criterion can't be measured."
function check_monitor(f, st, pool, m::Monitor, data)
    m.name == "loss" && return
    data === nothing &&
        fail("monitor is ", m.name, ", and there is no test or validation ",
            "data to measure it on")
    m.name == "accuracy" && data.nclasses == 0 &&
        fail("monitor is accuracy, and the loss has no classes; expected loss, or a ",
            "metric of numbers")
    measured(m, pool, f, st, data)
    return
end

"The figure of a criterion that is a metric; `nothing` for others."
measured(m::Monitor, pool, f, st, d) =
    m.measure === nothing ? nothing :
    Float64(m.measure(outputs_of(pool, f, st.θ, st.stats, d.x, d.y), d.y))

"The figures of the metrics of a run, all of the same outputs of the model."
function measured_metrics(log, d)
    isempty(log.metrics) && return (;)
    (; f, st, pool) = log
    outputs = outputs_of(pool, f, st.θ, st.stats, d.x, d.y)
    return map(measure -> measure(outputs, d.y, st.round), log.metrics)
end

"What the aggregator told of each round."
reports(history) = NamedTuple[r.aggregation for r in history]

elapsed(log::RunLog) = clock() - log.begun

end_checkpoints(log::RunLog) = end_checkpoints(log.checkpoints, log.history, log.warn)

"""
    note_round!(run_log, cohort, metrics) -> Record

Note a round that has just ended: warn of what went wrong, evaluate if that is due, add a
[`Record`](@ref) to the history, see whether the run ends, and write a checkpoint.
"""
function note_round!(log::RunLog, cohort, metrics)
    (; f, st, pool, stopping, privacy, history) = log
    warn_once!(log.warned, f.aggregate, metrics, st.round, log.warn)
    foreach(log.warn, drain_notes!(pool))
    push!(log.reports, metrics.aggregation)
    spent_out = exhausted(privacy, st.round, log.reports)
    last_one =
        st.round == stopping.rounds || spent_out ||
        out_of_time(stopping, elapsed(log))
    due = st.round % log.eval_every == 0 || last_one
    metrics = (; metrics..., epsilon = epsilon_after(privacy, st.round, log.reports),
        cohort = hides_cohort(f.rules) ? Int[] : cohort,
        metrics = map(Returns(nothing), log.metrics),
        membership = due ? infer_membership(log.membership) : nothing)
    # Before the evaluation, which Ctrl-C may end.
    push!(history, Record(; st.round, metrics...))
    due && evaluate!(log, cohort)
    log.stopped = reason_to_stop(stopping, history, elapsed(log), log.since)
    log.stopped === nothing && spent_out && (log.stopped = "budget")
    log.stopped === nothing || conclude!(log, cohort)
    log.progress.seconds = elapsed(log)
    checkpoint_due(log.checkpoints, st, log.stopped) &&
        save_or_warn(log.checkpoints, f, st, engine(pool), log.progress, log.warn)
    return last(history)
end

"""
Evaluate the model after the last round, on the validation data or, without any, on the test
data, and keep it if it is the best so far.
"""
function evaluate!(log::RunLog, cohort)
    data = or_else(log.validation, log.evaluation)
    data === nothing && return
    (; f, pool, history, progress, stopping) = log
    (; monitor) = stopping
    begun = time_ns()
    st = returned_state(f, log.st)
    figures =
        log.validation === nothing ? test_figures(pool, f, st, cohort, data) :
        validation_figures(pool, f, st, data)
    metrics = measured_metrics(log, data)
    metric = get(() -> measured(monitor, pool, f, st, data), metrics, Symbol(monitor.name))
    history[end] = timed(last(history), begun; figures..., metric, metrics)
    before = progress.best
    progress.best = better(monitor, before, last(history), st)
    log.since = progress.best === before ? log.since + 1 : 0
end

"The record with these figures, which were measured since `begun`."
timed(r::Record, begun; figures...) =
    Record(r; figures..., seconds_eval = r.seconds_eval + (time_ns() - begun) / 1e9)

"""
At the end of a run with validation data: read the test data, once, and evaluate the last
model if that is yet to be done.
"""
function conclude!(log::RunLog, cohort)
    log.validation === nothing && return
    last(log.history).validation_loss === nothing && evaluate!(log, cohort)
    log.evaluation === nothing && return
    begun = time_ns()
    st = returned_state(log.f, log.st)
    figures = test_figures(log.pool, log.f, st, cohort, log.evaluation)
    log.history[end] = timed(last(log.history), begun; figures...)
end

function check_cohort(f, n, N)
    check_clients_per_round(n, N)
    needed = min_updates(f.aggregate)
    needed <= n || fail(title(f.aggregate), " needs at least ", needed,
        " updates per round, and clients_per_round is ", n)
end

check_clients_per_round(n, N) =
    1 <= n <= N || fail("clients_per_round is ", n, "; expected a number from 1 to ", N,
        ", the number of clients")

"Warn, once of each kind, of what went wrong in a round; the history has it all."
function warn_once!(warned, aggregate, metrics, round, warn)
    (; skipped, rejected, dropped, clients, aggregation) = metrics
    function once(kind, message)
        kind in warned && return
        push!(warned, kind)
        warn("round $round: $message (later ones are in the history)")
    end
    nobody = isempty(rejected) && isempty(dropped) && clients == 0
    skipped === nothing || nobody ||
        once(:skipped, "the model stays as it was, since $skipped")
    told = worth_warning(aggregate, aggregation)
    told === nothing || once(:aggregation, told)
    isempty(rejected) || once(:rejected, rejection_text(first(rejected)))
    i = findfirst(d -> startswith(d.reason, "failed"), dropped)
    i === nothing ||
        once(:failed, "client $(dropped[i].client) is left out; it $(dropped[i].reason)")
end

rejection_text(r::Dropped) =
    "the update of client $(r.client) is rejected: it $(r.reason)" *
    (r.reason == NOT_FINITE ? "; try a smaller learning rate" : "")

"The test data, and how many samples of each class every client holds."
struct TestData{X,Y,C}
    x::X
    y::Y
    nclasses::Int     # that right answers are counted for
    counts::C         # nothing where there are no classes, or clients don't tell
end

function TestData(f, test, clients)
    test === nothing && return nothing
    nclasses = test_classes(f, test, clients)
    counts = nclasses == 0 ? nothing : labelcounts(clients, nclasses)
    return TestData(test..., counted_in_test(f, test, clients), counts)
end

"Data to validate on; nothing is said of each client there."
ValidationData(f, validation, clients) =
    validation === nothing ? nothing :
    TestData(validation..., test_classes(f, validation, clients), nothing)

function validation_figures(pool, f, st, d::TestData)
    e = evaluate(pool, f, st.θ, st.stats, d.x, d.y, d.nclasses)
    return (; validation_loss = e.loss, validation_accuracy = accuracy(e))
end

function test_figures(pool, f, st, cohort, test::TestData)
    (; x, y, nclasses, counts) = test
    e = evaluate(pool, f, st.θ, st.stats, x, y, nclasses)
    shares, personal = nothing, nothing
    if counts !== nothing
        shares = spread(client_accuracies(e, counts))
        personal = personal_accuracy(pool, f, st, cohort, (x, y), counts)
    end
    return (; test_loss = e.loss, accuracy = accuracy(e), client_accuracy = shares,
        personal_accuracy = personal)
end

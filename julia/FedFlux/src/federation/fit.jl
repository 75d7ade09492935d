# Round after round, until a stop condition holds.

"""
    Progress(history = Record[], seconds = 0.0)

The rounds of a run so far: their [`Record`](@ref)s, and the time they took.
"""
struct Progress
    history::Vector{Record}
    seconds::Float64
end
Progress() = Progress(Record[], 0.0)

# Checkpoints: where none are wanted, nothing is written. checkpoints/ adds the methods.
begin_checkpoints(::Nothing, f, st, engine, progress) = nothing
checkpoint_due(::Nothing, st, stopped) = false
function save_or_warn end

"""
    fit!(f, st, clients; rounds = 10, stopping = Stopping(; rounds),
         clients_per_round = length(clients), sampling = CohortSampling(clients_per_round),
         test = nothing, eval_every = 1, pool = WorkerPool(f, clients),
         callback = Returns(false), warn = m -> @warn(m), checkpoints = nothing,
         progress = Progress()) -> (st, history, stopped)

Run rounds until a stop condition holds; changes `st`.

- `stopping`: a [`Stopping`](@ref).  `sampling`: a [`CohortSampling`](@ref).
- `test`: `(x, y)` to evaluate the global model on, every `eval_every` rounds and in the
  last (unless `callback` ends the run).
- `callback(record) -> Bool`: called after every round in the calling task; `true` ends the
  run.
- `warn(message)`: called when something goes wrong that doesn't end the run.
- `checkpoints`: a [`Checkpoints`](@ref), or `nothing`.  `progress`: the [`Progress`](@ref)
  before, for a state that [`restore`](@ref) returned.

`history` is a vector of [`Record`](@ref)s; `stopped` the reason, `callback` among them.
Throws a [`FedFluxError`](@ref) for more clients per round than there are, or fewer than the
aggregator needs.

```julia
f = Federated(softmax_regression(4, 2))
clients = Clients(rand(Float32, 4, 60), rand(0:1, 60), [1:30, 31:60])
pool = FedFlux.WorkerPool(f, clients)
st, history, stopped = fit!(f, State(f, pool), clients; rounds = 3, pool)
```
"""
function fit!(f::Federated, st::State, clients::Clients; rounds = 10,
    stopping = Stopping(; rounds), clients_per_round = length(clients),
    sampling = CohortSampling(clients_per_round), test = nothing, eval_every = 1,
    pool = WorkerPool(f, clients), callback = Returns(false),
    warn = m -> @warn(m), checkpoints = nothing, progress = Progress())
    evaluation = TestData(f, test, clients)
    course = Course(f, st, clients; stopping, sampling, evaluation, eval_every, pool, warn,
        checkpoints, progress)
    data = poisoned(f.attack, f, clients)
    # Threads work on clients; BLAS's own would change the sums.
    with_blas_threads(1) do
        while course.stopped === nothing
            cohort, metrics = next_round!(f, st, data, sampling, pool)
            note_round!(course, cohort, metrics)
            callback(last(course.history)) && course.stopped === nothing &&
                (course.stopped = "callback")
        end
    end
    return st, course.history, course.stopped
end

"""
    Course(f, st, clients; stopping, sampling, evaluation, eval_every, pool, warn,
           checkpoints, progress)

A run before its next round, after all checks; it has `stopped` where it has ended already.
The arguments are those of [`fit!`](@ref); `evaluation` is a [`TestData`](@ref) or
`nothing`. Writes the first checkpoint.
"""
mutable struct Course       # fields of any type: its methods are compiled once
    f::Federated
    st::State
    pool::WorkerPool
    stopping::Stopping
    evaluation::Any         # a TestData, or nothing
    eval_every::Int
    privacy::Any            # a Promise, or nothing
    checkpoints::Any
    warn::Any
    warned::Set{Symbol}
    history::Vector{Record}
    begun::Float64          # when it began, had it never paused
    stopped::Union{Nothing,String}
end

function Course(f, st, clients; stopping, sampling, evaluation, eval_every, pool, warn,
    checkpoints, progress)
    check_cohort(f, sampling.clients_per_round, length(clients))
    privacy = promise(f, sampling, clients)
    exhausted(privacy, 0) &&
        fail("the privacy budget is ", privacy.budget, ", and one round costs ",
            round(epsilon_after(privacy, 1); sigdigits = 3), ": more noise, fewer clients ",
            "per round or a larger budget are needed")
    (; history, seconds) = progress
    stopped = reason_to_stop(stopping, history, seconds)
    exhausted(privacy, st.round) && (stopped = something(stopped, "budget"))
    begin_checkpoints(checkpoints, f, st, engine(pool), progress)
    return Course(f, st, pool, stopping, evaluation, eval_every, privacy, checkpoints, warn,
        Set{Symbol}(), history, time() - seconds, stopped)
end

elapsed(c::Course) = time() - c.begun

"""
    note_round!(course, cohort, metrics) -> Record

Note a round that has just ended: warn of what went wrong, evaluate where that is due, add a
[`Record`](@ref) to the history, see whether the run ends, and write a checkpoint.
"""
function note_round!(c::Course, cohort, metrics)
    (; f, st, pool, stopping, privacy, history) = c
    warn_once!(c.warned, metrics, st.round, c.warn)
    last_one =
        st.round == stopping.rounds || exhausted(privacy, st.round) ||
        out_of_time(stopping, elapsed(c))
    due = st.round % c.eval_every == 0 || last_one
    metrics = (; metrics..., epsilon = epsilon_after(privacy, st.round))
    push!(history, record(pool, f, st, cohort, metrics, due ? c.evaluation : nothing))
    c.stopped = reason_to_stop(stopping, history, elapsed(c))
    c.stopped === nothing && exhausted(privacy, st.round) && (c.stopped = "budget")
    if checkpoint_due(c.checkpoints, st, c.stopped)
        sofar = Progress(history, elapsed(c))
        save_or_warn(c.checkpoints, f, st, engine(pool), sofar, c.warn)
    end
    return last(history)
end

function check_cohort(f, n, N)
    check_clients_per_round(n, N)
    needed = min_updates(f.aggregate)
    needed <= n || fail(nameof(typeof(f.aggregate)), " needs at least ", needed,
        " updates per round, and clients_per_round is ", n)
end

check_clients_per_round(n, N) =
    1 <= n <= N || fail("clients_per_round is ", n, "; expected a number from 1 to ", N,
        ", the number of clients")

function with_blas_threads(work, n)
    before = BLAS.get_num_threads()
    BLAS.set_num_threads(n)
    try
        return work()
    finally
        BLAS.set_num_threads(before)
    end
end

"Draw the cohort of the next round and run it."
function next_round!(f, st, clients, sampling, pool)
    is_async(f.rules) &&
        return async_round!(f, st, clients, sampling.clients_per_round; pool)
    cohort, wanted, expected = next_cohort(f, st, clients, sampling)
    _, metrics = round!(f, st, clients, cohort; pool, wanted, expected)
    return cohort, metrics
end

"""
The cohort of the next round, how many of it are waited for, and how many were expected
before it was drawn.
"""
function next_cohort(f, st, clients, sampling)
    n = sampling.clients_per_round
    size = cohort_size(f.faults, n, length(clients))
    cohort = draw_cohort(sampling, clients, size, f.seed, st.round + 1)
    # A sampler's cohort is what it drew; only over-selection waits for fewer.
    wanted = f.faults.overselect > 1 ? n : length(cohort)
    return cohort, wanted, expected_clients(sampling, length(clients))
end

"Warn, once of each kind, of what went wrong in a round; the history has it all."
function warn_once!(warned, metrics, round, warn)
    (; skipped, rejected, dropped, clients) = metrics
    function once(kind, message)
        kind in warned && return
        push!(warned, kind)
        warn("round $round: $message (later ones are in the history)")
    end
    nobody = isempty(rejected) && isempty(dropped) && clients == 0
    skipped === nothing || nobody ||
        once(:skipped, "the model stays as it was, since $skipped")
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
    nclasses::Int
    counts::C         # nothing where there are no classes, or clients don't tell
end

function TestData(f, test, clients)
    test === nothing && return nothing
    nclasses = test_classes(f, test, clients)
    counts = nclasses == 0 ? nothing : labelcounts(clients, nclasses)
    return TestData(test..., nclasses, counts)
end

record(pool, f, st, cohort, metrics, ::Nothing) = Record(; st.round, metrics...)

function record(pool, f, st, cohort, metrics, test::TestData)
    (; x, y, nclasses, counts) = test
    begun = time_ns()
    e = evaluate(pool, f, st.θ, st.stats, x, y, nclasses)
    shares, personal = nothing, nothing
    if counts !== nothing
        shares = spread(client_accuracies(e, counts))
        personal = personal_accuracy(pool, f, st, cohort, (x, y), counts)
    end
    return Record(; st.round, metrics..., test_loss = e.loss, accuracy = accuracy(e),
        client_accuracy = shares, personal_accuracy = personal,
        seconds_eval = (time_ns() - begun) / 1e9)
end

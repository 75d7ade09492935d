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
- `callback(record)`: called after every round in the calling task; `true` ends the run,
  `false` or `nothing` doesn't.
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
    check_cohort(f, sampling.clients_per_round, length(clients))
    evaluation = TestData(f, test, clients)
    privacy = promise(f, sampling, clients)
    exhausted(privacy, 0) &&
        fail("the privacy budget is ", privacy.budget, ", and one round costs ",
            round(epsilon_after(privacy, 1); sigdigits = 3), ": more noise, fewer clients ",
            "per round or a larger budget are needed")
    data, warned = poisoned(f.attack, f, clients), Set{Symbol}()
    (; history) = progress
    begun = time() - progress.seconds
    stopped = reason_to_stop(stopping, history, progress.seconds)
    exhausted(privacy, st.round) && (stopped = something(stopped, "budget"))
    begin_checkpoints(checkpoints, f, st, engine(pool), progress)
    # Threads work on clients; BLAS's own would change the sums.
    with_blas_threads(1) do
        while stopped === nothing
            cohort, metrics = next_round!(f, st, data, sampling, pool)
            warn_once!(warned, metrics, st.round, warn)
            last_one =
                st.round == stopping.rounds || exhausted(privacy, st.round) ||
                out_of_time(stopping, time() - begun)
            due = st.round % eval_every == 0 || last_one
            metrics = (; metrics..., epsilon = epsilon_after(privacy, st.round),
                cohort = hides_cohort(f.rules) ? Int[] : cohort)
            # Before the evaluation, which Ctrl-C may end.
            push!(history, record(pool, f, st, cohort, metrics, nothing))
            due && (history[end] = record(pool, f, st, cohort, metrics, evaluation))
            stopped = reason_to_stop(stopping, history, time() - begun)
            stopped === nothing && exhausted(privacy, st.round) && (stopped = "budget")
            if checkpoint_due(checkpoints, st, stopped)
                sofar = Progress(history, time() - begun)
                save_or_warn(checkpoints, f, st, engine(pool), sofar, warn)
            end
            wants_stop(callback(last(history))) && stopped === nothing &&
                (stopped = "callback")
        end
    end
    return st, history, stopped
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
    n = sampling.clients_per_round
    is_async(f.rules) && return async_round!(f, st, clients, n; pool)
    size = cohort_size(f.faults, n, length(clients))
    cohort = draw_cohort(sampling, clients, size, f.seed, st.round + 1)
    # A sampler's cohort is what it drew; only over-selection waits for fewer.
    wanted = f.faults.overselect > 1 ? n : length(cohort)
    expected = expected_clients(sampling, length(clients))
    _, metrics = round!(f, st, clients, cohort; pool, wanted, expected)
    return cohort, metrics
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
    counts::C         # nothing where there are no classes
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
    if nclasses > 0
        shares = spread(client_accuracies(e, counts))
        personal = personal_accuracy(pool, f, st, cohort, (x, y), counts)
    end
    return Record(; st.round, metrics..., test_loss = e.loss, accuracy = accuracy(e),
        client_accuracy = shares, personal_accuracy = personal,
        seconds_eval = (time_ns() - begun) / 1e9)
end

# Round after round, until a stop condition holds.

"""
    fit!(f, st, clients; rounds = 10, stopping = Stopping(; rounds),
         clients_per_round = length(clients), sampling = CohortSampling(clients_per_round),
         test = nothing, eval_every = 1, workers = nothing, pool = nothing,
         callback = Returns(false), warn = m -> @warn(m), checkpoints = nothing,
         progress = Progress(), membership = nothing, validation = nothing, metrics = (;))
        -> (st, history, stopped)

Run rounds until a stop condition holds; changes `st`.

- `stopping`: a [`Stopping`](@ref).  `sampling`: a [`CohortSampling`](@ref).
- `test`: `(x, y)` to evaluate the global model on, every `eval_every` rounds and in the
  last (unless `callback` ends the run).
- `validation`: `(x, y)` to evaluate on instead, so that `test` is read once, at the end.
- `workers`: processes that train the clients, or how many to start and end with the run,
  as in [`WorkerPool`](@ref); `pool`: a pool to use instead of a new one.
- `callback(record)`: called after every round in the calling task; `true` ends the run,
  `false` or `nothing` doesn't. A function of two arguments gets a copy of the global model
  too: `callback(record, model)`.
- `warn(message)`: called when something goes wrong that doesn't end the run.
- `checkpoints`: a [`Checkpoints`](@ref), or `nothing`.  `progress`: the [`Progress`](@ref)
  before, for a state that [`restore`](@ref) returned; afterwards it holds the
  [`Best`](@ref) model, by the criterion of `stopping`.
- `metrics`: a NamedTuple of functions of the model's outputs, the targets and the number of
  the round, whose figures are to be in the history wherever the model is evaluated.
- `membership`: a [`MembershipInference`](@ref) on `st`, whose findings are to be in the
  history wherever the model is evaluated.

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
function fit!(f::Federated, st::State, clients::Clients; workers = nothing,
    pool = nothing, settings...)
    pool === nothing || return run_rounds!(f, st, clients, pool; settings...)
    pool = WorkerPool(f, clients; workers)
    try
        return run_rounds!(f, st, clients, pool; settings...)
    finally
        close(pool)
    end
end

function run_rounds!(f, st, clients, pool; rounds = 10,
    stopping = Stopping(; rounds), clients_per_round = length(clients),
    sampling = CohortSampling(clients_per_round), test = nothing, eval_every = 1,
    callback = Returns(false), warn = m -> @warn(m), checkpoints = nothing,
    progress = Progress(), membership = nothing, validation = nothing, metrics = (;))
    return each_round!(f, st, clients, stopping, sampling, test, validation, metrics,
        eval_every, pool, Callback(callback), Callback(warn), checkpoints, progress,
        membership)
end

"The rounds themselves, compiled once for all callbacks."
function each_round!(f::Federated, st::State, clients::Clients, stopping, sampling, test,
    validation, metrics, eval_every, pool, callback::Callback, warn::Callback, checkpoints,
    progress, membership)
    evaluation = TestData(f, test, clients)
    validation = ValidationData(f, validation, clients)
    run_log =
        RunLog(f, st, clients; stopping, sampling, evaluation, validation, eval_every,
            pool, warn, checkpoints, progress, membership, metrics)
    data = poisoned(f.attack, f, clients)
    # Threads work on clients; BLAS's own would change the sums.
    try
        with_blas_threads(1) do
            while run_log.stopped === nothing
                cohort, metrics = next_round!(f, st, data, sampling, pool)
                note_round!(run_log, cohort, metrics)
                answer = call_back(callback, last(run_log.history), run_log)
                if wants_stop(answer) && run_log.stopped === nothing
                    run_log.stopped = "callback"
                    conclude!(run_log, cohort)
                end
            end
        end
    finally
        end_checkpoints(run_log)
    end
    return st, run_log.history, run_log.stopped
end

"Call the user's function; one of two arguments gets a copy of the global model, too."
call_back(callback, record, log::RunLog) =
    takes_model(callback.f) ?
    callback(record, global_model(log.f, returned_state(log.f, log.st), engine(log.pool))) :
    callback(record)

"Whether a callback has a method for a record and a model only."
takes_model(f) = !hasmethod(f, Tuple{Record}) && hasmethod(f, Tuple{Record,Any})

"Draw the cohort of the next round and run it."
function next_round!(f, st, clients, sampling, pool)
    is_async(f.rules) &&
        return async_round!(f, st, clients, sampling.clients_per_round; pool)
    cohort, wanted, expected = next_cohort(f, st, clients, sampling)
    _, metrics = round!(f, st, clients, cohort; pool, wanted, expected, sampling.sampling)
    return cohort, metrics
end

"""
The cohort of the next round, how many of it are waited for, and how many were expected
before it was drawn. A cohort that ε rests on comes from no seed.
"""
function next_cohort(f, st, clients, sampling)
    n = sampling.clients_per_round
    size = cohort_size(f.faults, n, length(clients))
    round = st.round + 1
    rng = secret_cohorts(f.rules) ? SecureRandom() : Stream(f.seed, :cohort, round)
    cohort = draw_cohort(sampling, clients, size, f.seed, round, rng, st.sampling)
    # A sampler's cohort is what it drew; only over-selection waits for fewer.
    wanted = f.faults.overselect > 1 ? n : length(cohort)
    return cohort, wanted, expected_clients(sampling, length(clients))
end

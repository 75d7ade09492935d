# Round after round, until a stop condition holds.

"""
    Stopping(; rounds, target_accuracy = nothing, patience = nothing, time_budget = nothing)

When a run ends: after `rounds`; when the test accuracy reaches `target_accuracy`; after `patience` evaluations in a row
without a lower test loss; after the first round that ends later than `time_budget` seconds.
"""
Base.@kwdef struct Stopping
    rounds::Int
    target_accuracy::Union{Nothing,Float64} = nothing
    patience::Union{Nothing,Int} = nothing
    time_budget::Union{Nothing,Float64} = nothing
end

"Why a run with this history ends now (`rounds`, `target_accuracy`, `patience`, `time_budget`), or `nothing`."
function reason_to_stop(s::Stopping, history, seconds)
    last_record = last(history)
    accuracy = last_record.accuracy
    s.target_accuracy !== nothing && accuracy !== nothing && accuracy >= s.target_accuracy && return "target_accuracy"
    losses = [r.test_loss for r in history if r.test_loss !== nothing]
    s.patience !== nothing && !isempty(losses) && length(losses) - argmin(losses) >= s.patience && return "patience"
    s.time_budget !== nothing && seconds >= s.time_budget && return "time_budget"
    return last_record.round >= s.rounds ? "rounds" : nothing
end

"""
    fit!(f, st, clients; rounds, test = nothing, clients_per_round = length(clients), sampling = UniformSampling(),
         availability = Always(), target_accuracy = nothing, patience = nothing, time_budget = nothing, eval_every = 1,
         crew = Crew(f, clients), callback = Returns(false), checkpoints = nothing, history = Record[], seconds = 0.0,
         root = nothing, warn = m -> @warn(m)) -> (st, history, stopped)

Run rounds until a stop condition holds (see [`Stopping`](@ref)); changes `st`.

- `test`: `(x, y)` to evaluate the global model on, every `eval_every` rounds and in the last (unless `callback` ends the run).
- `sampling`, `availability`: how a round's cohort is drawn, a [`Sampling`](@ref), from whom is there, an [`Availability`](@ref).
- `callback(record) -> Bool`: called after every round in the calling task; `true` ends the run.
- `root`: indices of the samples that the server itself trains on, for an aggregator that asks for it.
- `checkpoints`: a [`Checkpoints`](@ref), or `nothing` for none.  `history`, `seconds`: of the rounds before, for a state
  that [`restore`](@ref) gave.  `warn(message)`: told of what goes wrong without ending the run.

`history` is a vector of [`Record`](@ref)s; `stopped` the reason, `callback` among them.

```julia
f = Federated(softmax_regression(4, 2))
clients = Clients(rand(Float32, 4, 60), rand(0:1, 60), [1:30, 31:60])
crew = FedFlux.Crew(f, clients)
st, history, stopped = fit!(f, State(f, FedFlux.engine(crew)), clients; rounds = 3, crew)
```
"""
function fit!(f::Federated, st::State, clients::Clients; rounds, test = nothing, clients_per_round = length(clients),
              sampling = UniformSampling(), availability = Always(), target_accuracy = nothing, patience = nothing,
              time_budget = nothing, eval_every = 1, crew = Crew(f, clients), callback = Returns(false), checkpoints = nothing,
              history = Record[], seconds = 0.0, root = nothing, warn = m -> @warn(m))
    1 <= clients_per_round <= length(clients) ||
        fail("clients_per_round is ", clients_per_round, "; expected a number from 1 to the ", length(clients), " clients there are")
    stop = Stopping(; rounds, target_accuracy, patience, time_budget)
    nclasses = test_classes(f, test, clients)
    counts = nclasses == 0 ? nothing : labelcounts(clients, nclasses)
    atleast(f.aggregate) <= clients_per_round ||
        fail(nameof(typeof(f.aggregate)), " needs at least ", atleast(f.aggregate), " updates a round, and clients_per_round is ", clients_per_round)
    data, told = poisoned(f.attack, f, clients), Set{Symbol}()
    begun = time() - seconds
    stopped = isempty(history) ? nothing : reason_to_stop(stop, history, seconds)
    checkpoints === nothing || begin_checkpoints(checkpoints, f, st, engine(crew), history)
    blas = BLAS.get_num_threads()
    BLAS.set_num_threads(1)      # threads work on clients; and BLAS's own would change the sums
    try
        while stopped === nothing
            cohort, metrics = next_round!(f, st, data, clients_per_round, sampling, availability, crew, root)
            tell_trouble!(told, metrics, st.round, warn)
            spent = time_budget !== nothing && time() - begun >= time_budget
            due = test !== nothing && (st.round % eval_every == 0 || st.round == rounds || spent)
            push!(history, record(crew, f, st, cohort, metrics, due ? test : nothing, nclasses, counts))
            stopped = reason_to_stop(stop, history, time() - begun)
            if checkpoints !== nothing && (st.round % checkpoints.every == 0 || stopped !== nothing)
                save_or_warn(checkpoints, f, st, engine(crew), history, time() - begun, warn)
            end
            callback(last(history)) && stopped === nothing && (stopped = "callback")
        end
    finally
        BLAS.set_num_threads(blas)
    end
    return st, history, stopped
end

"The number of classes that accuracy is measured over; 0 where there is no test data, or the loss has no classes."
test_classes(f, test, clients) = test === nothing ? 0 : max(classes(f.loss, test[2]), classes(f.loss, clients.y))

"Warn, once of each kind, of what went wrong in a round; the history has it all."
function tell_trouble!(told, metrics, round, warn)
    once(kind, message) = kind in told || (push!(told, kind); warn("round $round: $message (later ones are in the history)"))
    metrics.skipped === nothing || isempty(metrics.rejected) && isempty(metrics.lost) && metrics.clients == 0 || once(:skipped, "the model stays as it was, since $(metrics.skipped)")
    isempty(metrics.rejected) || once(:rejected, refused(first(metrics.rejected)))
    failed = filter(l -> startswith(l.reason, "failed"), metrics.lost)
    isempty(failed) || once(:failed, "client $(first(failed).client) is left out; it $(first(failed).reason)")
end

refused(r::Lost) = "the update of client $(r.client) is rejected: it $(r.reason)" * (r.reason == NOT_FINITE ? "; try a smaller learning rate" : "")

function next_round!(f, st, clients, n, sampling, availability, crew, root)
    isasync(f.rules) && return async_round!(f, st, clients, n; crew, root)
    cohort = draw_cohort(sampling, availability, clients, asked(f.faults, n, length(clients)), f.seed, st.round + 1)
    _, metrics = round!(f, st, clients, cohort; crew, wanted = n, root)
    return cohort, metrics
end

function record(crew, f, st, cohort, metrics, test, nclasses, counts)
    test === nothing && return Record(; st.round, metrics...)
    begun = time_ns()
    result = evaluate(crew, f, st.θ, st.stats, test..., nclasses)
    shares = nclasses == 0 ? nothing : spread(client_accuracies(result, counts))
    personal = nclasses == 0 ? nothing : personal_accuracy(crew, f, st, cohort, test, counts)
    return Record(; st.round, metrics..., test_loss = result.loss, accuracy = accuracy(result), client_accuracy = shares,
                  personal_accuracy = personal, seconds_eval = (time_ns() - begun) / 1e9)
end

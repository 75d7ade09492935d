# The record of each round.

"""
    Record

One round of the history. A field is `nothing` if a round was not evaluated, or if
there are no classes.

- `round`; `clients`: the number of clients whose update counted.
- `cohort`: the clients that were asked, by number; empty if a private rule hides them.
- `train_loss`: mean over the samples seen in local training, NaN if no update counted.
- `test_loss`, `accuracy`: of the new global model on the test data. With validation data
  only the last round has them.
- `validation_loss`, `validation_accuracy`: of the new global model on validation data.
- `metric`: the figure of a [`Monitor`](@ref) other than loss and accuracy.
- `metrics`: the figures of further metrics by name, on the same data as the loss; each is
  `nothing` in a round that was not evaluated. Empty if the run has no such metrics.
- `client_accuracy`: `(; min, q1, median, q3, max)` over all clients of the accuracy at each
  client's own mix of labels.
- `personal_accuracy`: the mean over the round's clients of the accuracy of each one's own
  model at its own mix of labels, if a rule personalises.
- `seconds_train`, `seconds_aggregate`, `seconds_eval`: wall time. Updates are added while
  others still train; `seconds_aggregate` is the time spent on adding and on the server's
  step.
- `bytes_up`, `bytes_down`: what all clients of the round sent and received, encoded.
- `rejected`, `dropped`: `(; client, reason)` of each update that the server rejected, and
  of each client that sent none.
- `skipped`: why the round left the model as it was, or `nothing`.
- `seconds_simulated`: the simulated duration of the round, if there are delays.
- `epsilon`: ε after this round, if a rule or the aggregator promises differential
  privacy.
- `membership`: `(; auc, accuracy, epsilon)`, what a [`MembershipInference`](@ref) found
  in an evaluated round, if one was asked for.
- `aggregation`: what the aggregator reports, as numbers by name (see [`report`](@ref)).
"""
Base.@kwdef struct Record
    round::Int
    train_loss::Float64
    test_loss::Union{Nothing,Float64} = nothing
    accuracy::Union{Nothing,Float64} = nothing
    client_accuracy::Union{Nothing,NamedTuple} = nothing
    personal_accuracy::Union{Nothing,Float64} = nothing
    clients::Int
    seconds_train::Float64
    seconds_aggregate::Float64
    seconds_eval::Float64 = 0.0
    bytes_up::Int
    bytes_down::Int
    rejected::Vector{Dropped} = Dropped[]
    dropped::Vector{Dropped} = Dropped[]
    skipped::Union{Nothing,String} = nothing
    seconds_simulated::Union{Nothing,Float64} = nothing
    epsilon::Union{Nothing,Float64} = nothing
    membership::Union{Nothing,NamedTuple} = nothing
    aggregation::NamedTuple = (;)
    cohort::Vector{Int} = Int[]
    validation_loss::Union{Nothing,Float64} = nothing
    validation_accuracy::Union{Nothing,Float64} = nothing
    metric::Union{Nothing,Float64} = nothing
    metrics::NamedTuple = (;)      # the last: see `recorded_fields`
end

"The record with these fields in the place of its own."
Record(r::Record; changes...) =
    Record(; (name => getfield(r, name) for name in fieldnames(Record))..., changes...)

"The fields that say something of a round: without metrics a history is as it always was."
recorded_fields(r::Record) =
    isempty(r.metrics) ? Base.front(fieldnames(Record)) : fieldnames(Record)

asdict(r::Record) =
    Dict{String,Any}(string(name) => figure(r, name) for name in recorded_fields(r))

"The fields of a record as a NamedTuple, in their order, as JSON can hold them."
function ordered(r::Record)
    names = recorded_fields(r)
    return NamedTuple{names}(map(name -> kept_order(r, name), names))
end

# A NamedTuple keeps its order in JSON, a Dict doesn't.
kept_order(r::Record, name) =
    name === :metrics ? map(loss_as_json, r.metrics) :
    getfield(r, name) isa NamedTuple ? map(as_json, getfield(r, name)) : figure(r, name)

# A loss that isn't finite is told from one that wasn't taken: a run that diverged says so.
figure(r::Record, name) =
    name in (:test_loss, :validation_loss) ||
    name === :train_loss && !isnan(r.train_loss) ?
    loss_as_json(getfield(r, name)) : as_json(getfield(r, name))

"""
    history_table(r) -> Vector of NamedTuples

The history of a result, or a history, as a table: a row for each round, with the same
columns as Python's `Result.frame`. Any package of the Tables.jl interface takes it, such as
`DataFrame(FedFlux.history_table(r))`.
"""
function history_table(history::AbstractVector{Record})
    reported = unique(k for r in history for k in keys(r.aggregation))
    spread = (:min, :q1, :median, :q3, :max)
    attacked = any(r -> r.membership !== nothing, history)
    measured = unique(k for r in history for k in keys(r.metrics))
    parts = (:client_accuracy => spread, :aggregation => reported,
        :membership => (attacked ? (:auc, :accuracy, :epsilon) : ()),
        :metrics => measured)
    plain = Tuple(n for n in fieldnames(Record) if n ∉ first.(parts))
    return map(history) do r
        row = NamedTuple{plain}(map(n -> getfield(r, n), plain))
        more = (
            Symbol(part, :_, n) => get(something(getfield(r, part), (;)), n, nothing)
            for (part, names) in parts for n in names
        )
        return (; row..., more...)
    end
end

as_json(x::Vector{Dropped}) = map(as_json, x)

function Base.show(io::IO, r::Record)
    r.clients == 0 ? print(io, "round ", r.round, ": no clients") :
    @printf(io, "round %d: train loss %.4f", r.round, r.train_loss)
    r.test_loss === nothing || @printf(io, ", test loss %.4f", r.test_loss)
    r.accuracy === nothing || @printf(io, ", accuracy %.4f", r.accuracy)
    r.validation_loss === nothing ||
        @printf(io, ", validation loss %.4f", r.validation_loss)
    r.validation_accuracy === nothing ||
        @printf(io, ", validation accuracy %.4f", r.validation_accuracy)
    r.personal_accuracy === nothing ||
        @printf(io, ", personal accuracy %.4f", r.personal_accuracy)
    for (name, value) in pairs(r.metrics)
        value === nothing || @printf(io, ", %s %.4f", name, value)
    end
    isempty(r.rejected) || @printf(io, ", %d rejected", length(r.rejected))
    isempty(r.dropped) || @printf(io, ", %d dropped", length(r.dropped))
    r.skipped === nothing || print(io, ", model unchanged")
    @printf(io, " (%.2f s)", r.seconds_train + r.seconds_aggregate + r.seconds_eval)
end

# The criterion that tells a better round from another, and the best model so far.

"""
    Monitor(name = "loss", measure = nothing)

The criterion of a run: by it `patience` counts, the best model is kept, and a checkpoint is
the best one. It is read from the validation data, or from the test data if there is no
validation data.

- `name`: `loss` and `accuracy`, which each evaluation has; or a metric, of which
  `measure(outputs, targets)` gives the figure. Of `loss`, `perplexity`, `mae` and `mse`
  less is better, of all others more. NaN and infinities are never better.
"""
struct Monitor
    name::String
    measure::Any
end
Monitor(name = "loss") = Monitor(name, nothing)

"The record's figure of the criterion, or `nothing` for a round that was not evaluated."
function criterion(m::Monitor, r)
    m.name == "loss" && return or_else(r.validation_loss, r.test_loss)
    m.name == "accuracy" && return or_else(r.validation_accuracy, r.accuracy)
    return r.metric
end

or_else(value, other) = value === nothing ? other : value

"Whether a figure is better than another, which may be `nothing`."
function isbetter(m::Monitor, value, other)
    isfinite(value) || return false
    other === nothing && return true
    less = m.name in ("loss", "perplexity", "mae", "mse")
    return less ? value < other : value > other
end

"""
    best_of(m::Monitor, history) -> (round, since)

The round of the best record, the first of equals, or `nothing`; and how many evaluations
came after it, or how many there were.
"""
function best_of(m::Monitor, history)
    round, best, since = nothing, nothing, 0
    for r in history
        value = criterion(m, r)
        value === nothing && continue
        since += 1
        isbetter(m, value, best) && ((round, best, since) = (r.round, value, 0))
    end
    return round, since
end

"The global model after its best round: its figure, parameters and statistics."
struct Best
    round::Int
    value::Float64
    θ::Vector{Float32}
    stats::Vector{Float32}
end

"`best`, or the model of this record if that is better."
function better(m::Monitor, best, r, st::State)
    value = criterion(m, r)
    value === nothing && return best
    isbetter(m, value, best === nothing ? nothing : best.value) || return best
    return Best(r.round, value, copy(st.θ), copy(st.stats))
end

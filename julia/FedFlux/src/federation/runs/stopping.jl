# When a run ends.

"""
    Target(text)

A figure that ends a run once it is reached: `"f1>=0.9"` or `"loss<=0.2"`. The name is
`loss`, `accuracy`, that of the [`Monitor`](@ref), or of one of the record's `metrics`.
Throws a [`FedFluxError`](@ref) for any other text.
"""
struct Target
    name::String
    least::Bool     # whether the figure must be as large, not as small
    value::Float64
end

function Target(text)
    m = match(r"^\s*([A-Za-z_]\w*)\s*(>=|<=)\s*(\S+)\s*$", text)
    value = m === nothing ? nothing : tryparse(Float64, m[3])
    value !== nothing && isfinite(value) ||
        fail("target_metric is ", repr(text),
            "; expected a metric and its value, as in f1>=0.9")
    return Target(m[1], m[2] == ">=", value)
end

"Whether a round reached the target."
function reached(t::Target, monitor::Monitor, r)
    figure = get(r.metrics, Symbol(t.name)) do
        t.name in ("loss", "accuracy", monitor.name) ? criterion(Monitor(t.name), r) :
        nothing
    end
    figure === nothing && return false
    return t.least ? figure >= t.value : figure <= t.value
end

"""
    Stopping(; rounds, target_accuracy = nothing, target = nothing, patience = nothing,
             time_budget = nothing, monitor = Monitor())

When a run ends: after `rounds`; when the accuracy reaches `target_accuracy`; when a figure
reaches `target`, a [`Target`](@ref); after
`patience` evaluations in a row that are not better by `monitor`, a [`Monitor`](@ref); after
the first round that ends later than `time_budget` seconds. The accuracy is that of the
validation data, or of the test data if there is no validation data.
"""
Base.@kwdef struct Stopping
    rounds::Int
    target_accuracy::Union{Nothing,Float64} = nothing
    target::Union{Nothing,Target} = nothing
    patience::Union{Nothing,Int} = nothing
    time_budget::Union{Nothing,Float64} = nothing
    monitor::Monitor = Monitor()
end

"""
Why a run with this history ends now (`rounds`, `target_accuracy`, `target_metric`,
`patience`, `time_budget`), or `nothing`. `since`: the evaluations since the best one.
"""
function reason_to_stop(s::Stopping, history, seconds,
    since = last(best_of(s.monitor, history)))
    isempty(history) && return nothing
    r = last(history)
    accuracy = or_else(r.validation_accuracy, r.accuracy)
    s.target_accuracy !== nothing && accuracy !== nothing &&
        accuracy >= s.target_accuracy && return "target_accuracy"
    s.target !== nothing && reached(s.target, s.monitor, r) && return "target_metric"
    s.patience !== nothing && since >= s.patience && return "patience"
    out_of_time(s, seconds) && return "time_budget"
    return r.round >= s.rounds ? "rounds" : nothing
end

out_of_time(s::Stopping, seconds) = s.time_budget !== nothing && seconds >= s.time_budget

"Whether what a callback returned ends the run."
wants_stop(answer::Bool) = answer
wants_stop(::Nothing) = false
wants_stop(answer) = fail("callback returned ", first(repr(answer), 80),
    "; expected true to end the run, false or nothing to go on")

# When a run ends.

"""
    Stopping(; rounds, target_accuracy = nothing, patience = nothing, time_budget = nothing,
             monitor = Monitor())

When a run ends: after `rounds`; when the accuracy reaches `target_accuracy`; after
`patience` evaluations in a row that are not better by `monitor`, a [`Monitor`](@ref); after
the first round that ends later than `time_budget` seconds. The accuracy is that of the
validation data, or of the test data if there is no validation data.
"""
Base.@kwdef struct Stopping
    rounds::Int
    target_accuracy::Union{Nothing,Float64} = nothing
    patience::Union{Nothing,Int} = nothing
    time_budget::Union{Nothing,Float64} = nothing
    monitor::Monitor = Monitor()
end

"""
Why a run with this history ends now (`rounds`, `target_accuracy`, `patience`,
`time_budget`), or `nothing`. `since`: the evaluations since the best one.
"""
function reason_to_stop(s::Stopping, history, seconds,
    since = last(best_of(s.monitor, history)))
    isempty(history) && return nothing
    r = last(history)
    accuracy = or_else(r.validation_accuracy, r.accuracy)
    s.target_accuracy !== nothing && accuracy !== nothing &&
        accuracy >= s.target_accuracy && return "target_accuracy"
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

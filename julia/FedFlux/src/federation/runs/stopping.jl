# When a run ends.

"""
    Stopping(; rounds, target_accuracy = nothing, patience = nothing, time_budget = nothing)

When a run ends: after `rounds`; when the test accuracy reaches `target_accuracy`; after
`patience` evaluations in a row without a lower test loss; after the first round that ends
later than `time_budget` seconds.
"""
Base.@kwdef struct Stopping
    rounds::Int
    target_accuracy::Union{Nothing,Float64} = nothing
    patience::Union{Nothing,Int} = nothing
    time_budget::Union{Nothing,Float64} = nothing
end

"""
Why a run with this history ends now (`rounds`, `target_accuracy`, `patience`,
`time_budget`), or `nothing`.
"""
function reason_to_stop(s::Stopping, history, seconds)
    isempty(history) && return nothing
    (; accuracy, round) = last(history)
    s.target_accuracy !== nothing && accuracy !== nothing &&
        accuracy >= s.target_accuracy && return "target_accuracy"
    s.patience !== nothing && since_best(history) >= s.patience && return "patience"
    out_of_time(s, seconds) && return "time_budget"
    return round >= s.rounds ? "rounds" : nothing
end

"How many evaluations came since the lowest test loss; NaN and Inf are never that."
function since_best(history)
    lowest, since = Inf, 0
    for r in history
        r.test_loss === nothing && continue
        r.test_loss < lowest ? ((lowest, since) = (r.test_loss, 0)) : (since += 1)
    end
    return since
end

out_of_time(s::Stopping, seconds) = s.time_budget !== nothing && seconds >= s.time_budget

"Whether what a callback returned ends the run."
wants_stop(answer::Bool) = answer
wants_stop(::Nothing) = false
wants_stop(answer) = fail("callback returned ", first(repr(answer), 80),
    "; expected true to end the run, false or nothing to go on")

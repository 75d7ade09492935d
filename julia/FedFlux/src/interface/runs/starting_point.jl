# Going on from a result, as if the run had never stopped.

"""
The state and the progress that a result ended with; the result keeps its own. Throws a
[`FedFluxError`](@ref) if the run with these `facts` isn't the result's.
"""
function continued(r::RunResult, facts, warn)
    compare_runs(r.facts, "the result", facts, warn)
    return deepcopy(r.state), Progress(copy(r.history), r.seconds, r.best_state)
end

"""
The arrays to begin with. What is frozen doesn't change, so a run that goes on takes it from
where it was, as it began there with an `init`.
"""
function with_frozen(o::Options, init, saved, previous)
    init === nothing && !isempty(o.freeze) || return init
    return saved === nothing ? previous : saved_arrays(saved)
end

"""
The options `given`, and those of the run to resume that were not given; a result in their
`resume` comes back beside them, else `nothing`.
"""
function with_resumed(given::AbstractDict{Symbol})
    previous = get(given, :resume, nothing)
    previous isa RunResult || return with_recorded(given), nothing
    fresh = (:resume, :checkpoint)
    recorded = Dict{Symbol,Any}(
        name => getfield(previous.options, name) for name in OPTION_NAMES
        if !(name in fresh) && getfield(previous.options, name) !== nothing
    )
    return merge(recorded, filter(!=(:resume) ∘ first, given)), previous
end

function check_init(init, previous)
    init isa Union{Nothing,AbstractDict,AbstractVector,Tuple,AbstractString} ||
        hasproperty(init, :parameters) ||
        fail("init is ", first(repr(init), 80), "; expected arrays by name, a list of ",
            "arrays in the model's order, a result, or the path of one")
    init === nothing || previous === nothing ||
        fail("init and a result to resume were both given; expected one: init starts a ",
            "new run from other parameters, and resume continues the result's run")
end

# The result in a file or a folder: results/result_files.jl adds the method.
function load_result end

with_initial(model, result) = with_initial(model, arrays_by_name(result))
with_initial(model, path::AbstractString) = with_initial(model, load_result(path))

"What is worth a warning when a run continues `previous`, or `nothing`."
nothing_left(::Nothing, st) = nothing
nothing_left(previous::RunResult, st) =
    st.round > previous.state.round ? nothing :
    "resume: the run ended after $(st.round) rounds ($(previous.stopped)), so no " *
    "round is left; set more rounds, or change the option that ended it"

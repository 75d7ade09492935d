# A result from a file, or from a folder of checkpoints.

"The result of a run as the newest checkpoint in a folder has it."
function checkpointed_result(folder::AbstractString)
    saved = load_checkpoint(folder)
    saved === nothing && fail("there is no checkpoint in ", folder)
    return readable(() -> checkpointed_result(saved), saved.path)
end

function checkpointed_result(saved::SavedCheckpoint)
    (; content, history) = saved
    facts = checkpointed_facts(content, history)
    model, best = saved_model(saved), get(content, "best", nothing)
    part(model, facts, best) = SavedResult(
        merge(facts, Dict("params_sha256" => joint_sha256(model.parameters))),
        model.names, model.parameters, model.statistics, best)
    best === nothing && return part(model, facts, nothing)
    r = history[findlast(r -> r.round == best["round"], history)]
    own = merge(facts, best, figures_of(r),
        Dict("monitor" => get(content["run"]["options"], "monitor", "loss")))
    apart = best["round"] != content["round"]
    its = apart ? saved_model(saved, "best", "best_stats") : model
    return part(model, facts, part(its, own, nothing))
end

"The facts of a run at a checkpoint, as those of a saved result."
function checkpointed_facts(content, history)
    run = content["run"]
    details = Dict{String,Any}("objects" => run["objects"])
    for name in ("sample", "input", "classes")   # older ones lack them
        haskey(run, name) && (details[name] = run[name])
    end
    figures =
        isempty(history) ? Dict("accuracy" => nothing, "loss" => nothing) :
        figures_of(last(history))
    return merge(
        figures,
        Dict{String,Any}("engine" => "julia",
            "dataset" => get(run, "dataset", "unknown"), "trainer" => run["trainer"],
            "stopped" => "checkpoint", "seconds" => content["seconds"],
            "versions" => run["versions"],
            "options" => merge(run["options"], run["objects"]),
            "clients" => [], "history" => JSON.parse(JSON.json(map(ordered, history))),
            "warnings" => [], "details" => details)
    )
end

figures_of(r::Record) = Dict{String,Any}("accuracy" => r.accuracy,
    "loss" => loss_as_json(or_else(r.test_loss, r.train_loss)))

"""
    load_result(path) -> SavedResult

The result that [`save`](@ref) or Python's `Result.save` wrote, or that of a folder of
checkpoints: what the run had reached at the newest one, which `stopped` calls "checkpoint".
Throws a [`FedFluxError`](@ref) if the file is missing, damaged or something else.
"""
load_result(path::AbstractString) =
    isdir(path) ? checkpointed_result(path) : result_in_file(path)

# What a result says in JSON, for Python and in files.

"The facts of a result but its parameters, as JSON can hold them."
function result_facts(r::RunResult)
    same = (:dataset, :trainer, :trainer_reason, :threads, :workers, :stopped, :seconds,
        :params_sha256, :names, :resumed, :warnings, :finetuned_accuracy, :privacy)
    facts = Dict{String,Any}(string(name) => getfield(r, name) for name in same)
    facts["clients"] = r.holdings
    facts["client_rows"] = map(plain_row, r.clients)
    facts["personal"] = personalises(one_or_many(built(r.options, :rules)))
    facts["versions"] = versions()
    facts["baselines"] = Dict(name => as_json(b) for (name, b) in r.baselines)
    facts["sample"] = collect(reverse(r.sample))
    facts["input"] = plain_contract(r.input)
    r.classes === nothing || (facts["classes"] = r.classes)
    facts["history"] = map(ordered, r.history)
    facts["statistics"] = first.(r.statistics)
    facts["best"] = best_facts(r)
    facts["settled"] = filter(p -> depends_on_others(first(p)), plain_options(r.options))
    facts["objects"] = Dict(
        name => type_name(object) for (name, object) in object_options(r.options)
    )
    return facts
end

"A client's row as JSON can hold it: a name that is neither text nor a number as text."
function plain_row(row)
    (; name) = row
    plain = name isa Union{AbstractString,Real} ? name : string(name)
    return map(loss_as_json, (; row..., name = plain))
end

snapshot_facts(s::Snapshot) = Dict{String,Any}("round" => s.round, "monitor" => s.monitor,
    "value" => as_json(s.value), "loss" => loss_as_json(s.loss),
    "accuracy" => s.accuracy,
    "params_sha256" => s.params_sha256, "names" => s.names,
    "statistics" => first.(s.statistics))

best_facts(r) =
    r.best === nothing ? nothing :
    merge(snapshot_facts(r.best), Dict("apart" => best_apart(r)))

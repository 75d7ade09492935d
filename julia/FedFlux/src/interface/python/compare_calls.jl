# A comparison from Python: its grid and its events as JSON.

"""
    _pycompare(config, data, callback) -> json

Compare for Python. `config` is a JSON object: the `grid`, lists of pairs of an option and
its values, or a `file`; `seeds`, `folder`, `target`, `metric`, `baseline` and `parallel` as
[`compare`](@ref) takes them; and the `options`, alike in all runs. `data` as in `_pyrun`.
`callback(kind, payload)` gets each event, with its run, as JSON; it returns true to stop.
"""
_pycompare(config::AbstractString, data, callback) =
    json_answer() do
        given = arguments(config)
        what =
            haskey(given, :file) ? String(pop!(given, :file)) : as_grids(pop!(given, :grid))
        options = arguments_of(pop!(given, :options))
        dataset = python_dataset(data, get(options, :dataset, "arrays"))
        plan =
            ComparisonPlan(what, merge(options, given, Dict{Symbol,Any}(:data => dataset)))
        python = PythonCallback(callback)
        comparison_facts(run_plan(event -> python(event.kind, event_json(event)), plan))
    end

as_grids(grids) = [[Symbol(name) => collect(Any, values) for (name, values) in axes] for
 axes in grids]

arguments_of(object) = Dict{Symbol,Any}(Symbol(k) => v for (k, v) in object)

event_json(e) =
    e.kind == "tick" ? "" :
    JSON.json((; e..., payload = e.payload isa Record ? ordered(e.payload) : e.payload,
        summary = map(loss_as_json, get(e, :summary, (;)))))

# The one entry of the Python front: text in, text and arrays out, so that every call hits the same compiled code.

"Whether Python's callback asked to stop; the PythonCall extension adds the method for Python's own truth values."
truth(x::Bool) = x

# Python's callback behind a type that is always the same, so that a run meets the code that was compiled at installation.
struct Listener
    callback::Any
end
(l::Listener)(kind, payload) = truth(l.callback(kind, payload))::Bool

"""
    _pyrun(config, data, model, init, callback) -> (json, arrays)

Run from Python. `config` is a JSON object of options; `data` is `nothing` or the arrays `(x_train, y_train, x_test,
y_test)` with reversed axes, and where there are owners a fifth, `owner`; `model` is `nothing` or a Flux model; `init` is `nothing` or a list of arrays.
`callback(kind, payload)` gets "start", "warning", "round" and "tick" and asks to stop with true. A user's mistake comes back as
`{"error": message}`; an exception of the callback passes through.
"""
function _pyrun(config::AbstractString, data, model, init, callback)
    try
        result = run_for_python(config, data, model, init, Listener(callback))
        return JSON.json(report(result)), result.parameters
    catch err
        err isa FedFluxError || rethrow()
        return JSON.json(Dict("error" => err.message)), Array{Float32}[]
    end
end

function run_for_python(config, data, model, init, callback)
    options, objects = from_python(config, data)
    model === nothing || (objects[:model] = model)
    init = init === nothing ? nothing : [Array{Float32}(a) for a in init]
    warnings = String[]
    return execute(options, objects, init, warnings; callback = record -> callback("round", JSON.json(asdict(record))),
                   started = facts -> (callback("start", JSON.json(facts)); nothing),
                   warned = message -> (callback("warning", JSON.json(message)); nothing), tick = () -> (callback("tick", ""); nothing))
end

"""
    _recorded(folder) -> json

For Python: the options of the run whose checkpoints lie in `folder` (none where it has none yet), as `{"options": …}`.
"""
function _recorded(folder::AbstractString)
    try
        return JSON.json(Dict("options" => something(recorded_options(folder), Dict{String,Any}())))
    catch err
        err isa FedFluxError || rethrow()
        return JSON.json(Dict("error" => err.message))
    end
end

"The checked options, and the objects among them."
function from_python(config, data)
    given = Dict{Symbol,Any}(Symbol(k) => v for (k, v) in JSON.parse(config))
    objects = Dict{Symbol,Any}()
    data === nothing || (objects[:dataset] = python_dataset(data...; name = basename(get(given, :dataset, "arrays"))))
    return check_options(given), objects
end

"""
    _pypartition(config, data) -> json

Who holds what under these options (see [`holdings`](@ref)), and as a text `table`. `config` and `data` as in `_pyrun`.
"""
function _pypartition(config::AbstractString, data)
    try
        options, objects = from_python(config, data)
        dataset, _ = prepare_data(options, objects)
        clients, _, _ = prepare_clients(options, objects, dataset, LOSSES[options[:loss]])
        return JSON.json(merge(holdings(clients), Dict("dataset" => dataset.name, "table" => sprint(describe, clients))))
    catch err
        err isa FedFluxError || rethrow()
        return JSON.json(Dict("error" => err.message))
    end
end

# One copy at the door: Julia's fast paths want its own arrays.
own(a) = a === nothing ? nothing : Array(a)
python_dataset(x, y, xtest, ytest, owner = nothing; name) = Dataset(own(x), own(y), own(xtest), own(ytest); name, owner = own(owner))

report(r::RunResult) = Dict("dataset" => r.dataset, "trainer" => r.trainer, "trainer_reason" => r.trainer_reason, "threads" => r.threads,
                            "stopped" => r.stopped, "seconds" => r.seconds, "params_sha256" => r.params_sha256, "names" => r.names,
                            "resumed" => r.resumed, "warnings" => r.warnings, "clients" => r.holdings, "versions" => versions(),
                            "finetuned_accuracy" => r.finetuned_accuracy, "baselines" => Dict(name => plain(b) for (name, b) in r.baselines),
                            "history" => map(asdict, r.history))

"Versions of Julia, FedFlux and the packages that decide the numbers."
versions() = Dict("julia" => string(VERSION), "FedFlux" => string(pkgversion(FedFlux)), "Flux" => string(pkgversion(Flux)),
                  "Zygote" => string(pkgversion(Zygote)), "Optimisers" => string(pkgversion(Optimisers)))

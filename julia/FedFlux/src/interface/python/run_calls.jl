# The one entry of the Python front: text in, text and arrays out, so that every call hits
# the same compiled code.

"""
Whether Python's callback asked to stop; the PythonCall extension adds the method for
Python's truth values.
"""
as_bool(x::Bool) = x

# Python's callback behind a type that is always the same, so that a run meets the code that
# was compiled at installation. The extension's method of `as_bool` comes later, and would
# throw out all code that was compiled with a direct call of it.
struct PythonCallback
    f::Any
end
(c::PythonCallback)(kind, payload) =
    Base.invokelatest(as_bool, Base.invokelatest(c.f, kind, payload))::Bool
(c::PythonCallback)(kind, payload, model) =
    Base.invokelatest(as_bool, Base.invokelatest(c.f, kind, payload, model))::Bool

"""
    _provide_ckks(parties)

Let [`CKKS`](@ref) take its parties from this Python function.
"""
_provide_ckks(parties) = (CKKS_PARTIES[] = parties; nothing)

"""
    _pyrun(config, data, objects, init, callback, previous = nothing, models = false)
        -> (json, arrays, result)

Run from Python. `config` is a JSON object of options; `data` is `nothing` or the arrays
`(x_train, y_train, x_test, y_test)` with reversed axes, and if there are owners `owner`
and `owner_test` behind them; `objects` is `nothing` or pairs of an option and the Julia
object given for it; `init` is `nothing` or a JSON list of names and the list of their
arrays; `previous` is a [`RunResult`](@ref) to go on from. `callback(kind, payload)` gets
"start", "warning", "round" and "tick"; it returns true to stop. With `models` it gets the
[`Snapshot`](@ref) after each "round" too, as a third argument. A user's mistake is
returned as `{"error": message}`; an exception of the callback passes through, but Ctrl-C
while clients train ends the run with a result.
"""
_pyrun(config::AbstractString, data, objects, init, callback, previous = nothing,
    models = false) =
    answer(Array{Float32}[], nothing) do
        run_for_python(config, data, objects, init, PythonCallback(callback), previous,
            models)
    end

"""
    answer(f, otherwise...) -> (json, rest...)

What a call from Python returns: `f()` gives a Dict, here as JSON, and the `rest`. A
[`FedFluxError`](@ref) becomes `{"error": message}`, and then the rest is `otherwise`.
"""
function answer(f, otherwise...)
    try
        facts, rest... = f()
        return JSON.json(facts), rest...
    catch err
        err isa FedFluxError || rethrow()
        return JSON.json(Dict{String,Any}("error" => err.message)), otherwise...
    end
end

"The JSON alone, of the Dict that `f` returns or of its error."
json_answer(f) = first(answer(() -> (f(),)))

"The arguments that a JSON object holds."
arguments(config) = Dict{Symbol,Any}(Symbol(k) => v for (k, v) in JSON.parse(config))

function run_for_python(config, data, objects, init, callback, previous, models)
    o = python_options(config, objects)
    send(kind, payload) = (callback(kind, JSON.json(payload)); nothing)
    tell(record, model...) = callback("round", JSON.json(ordered(record)), model...)
    with_model(record, model) = tell(record, model)
    hooks = RunHooks(; callback = models ? with_model : tell,
        started = facts -> send("start", facts),
        warned = message -> send("warning", message),
        tick = () -> (callback("tick", ""); nothing), keep_interrupted = true)
    result = run_locked(o, python_init(init), hooks;
        data = python_dataset(data, o.dataset), previous)
    return result_facts(result), arrays_in_order(result), result
end

"""
    _pysnapshot(snapshot) -> (json, arrays)

For Python: the facts of a [`Snapshot`](@ref), and its parameters and statistics.
"""
_pysnapshot(s::Snapshot) =
    answer(() -> (snapshot_facts(s), model_arrays(s)), Array{Float32}[])

python_init(::Nothing) = nothing
function python_init(init)
    names, arrays = init
    return Dict{String,Any}(
        string(name) => Array{Float32}(a) for (name, a) in zip(JSON.parse(names), arrays)
    )
end

"""
    _recorded(folder) -> json

For Python: the options of the run whose checkpoints lie in `folder` (none if it has none
yet), as `{"options": …, "files": …}` (see [`recorded_options`](@ref)).
"""
_recorded(folder::AbstractString) =
    json_answer() do
        options, files = something(recorded_options(folder),
            (Dict{String,Any}(), Dict{String,Any}()))
        Dict("options" => options, "files" => files)
    end

"""
    _pypartition(config, data, objects = nothing) -> json

The distribution of the data under these options (see [`holdings`](@ref)), and as a text
`table`. `config`, `data` and `objects` as in `_pyrun`.
"""
_pypartition(config::AbstractString, data, objects = nothing) =
    json_answer() do
        o = python_options(config, objects)
        dataset, o = prepare_data(o; data = python_dataset(data, o.dataset))
        (; clients) = prepare_clients(o, dataset)
        (; name, classes) = dataset
        facts = Dict{String,Any}("dataset" => name,
            "table" => sprint(io -> describe(io, clients; classes)))
        classes === nothing || (facts["classes"] = classes)
        merge(holdings(clients), facts)
    end

"""
    _pyepsilon(config) -> json
    _pynoise(config) -> json

For Python: [`epsilon`](@ref) and [`noise_multiplier`](@ref) of a JSON object of their
arguments, as `{"value": …}`, null if ε is infinite.
"""
_pyepsilon(config::AbstractString) = python_value(epsilon, config)
_pynoise(config::AbstractString) = python_value(noise_multiplier, config)

python_value(f, config) =
    json_answer() do
        given = arguments(config)
        for name in (:sampling, :accountant)
            given[name] = Symbol(given[name])
        end
        Dict("value" => as_json(f(; given...)))
    end

"""
    _pyaudit(config) -> json

For Python: what [`audit`](@ref) finds with a JSON object of its arguments, where `rule` and
`sampling` are texts as in the options.
"""
_pyaudit(config::AbstractString) =
    json_answer() do
        given = arguments(config)
        rule = build("rule", pop!(given, :rule))
        given[:sampling] = build("sampling", given[:sampling])
        a = audit(rule; given...)
        Dict("broken" => isbroken(a), "lower" => a.lower, "upper" => as_json(a.upper),
            "decided" => as_dict(a.decided),
            "attacks" => [
                Dict("name" => b.name, "lower" => b.lower, "decided" => as_dict(b.decided))
                for b in a.attacks
            ],
            "findings" => a.findings, "trials" => a.trials, "rounds" => a.rounds,
            "confidence" => a.confidence, "seconds" => a.seconds,
            "promise" => statement(a.promise, a.rounds))
    end

as_dict(figures::NamedTuple) = Dict(string(k) => as_json(v) for (k, v) in pairs(figures))

"Options in JSON and objects by option; a client has those of its `rules` that it takes."
function python_options(config, objects; client = false)
    given = arguments(config)
    for (name, object) in something(objects, ())
        own = object isa Tuple ? numbered(object) : object
        client && (own = filter(r -> !(r isa Rule) || on_clients(r), one_or_many(own)))
        given[Symbol(name)] = own
    end
    return Options(given)
end

"For Python: the names of metrics that are Julia's, as `{\"names\": …}`."
_metric_names(given) = json_answer(() -> Dict("names" => first.(named_metrics(given))))

python_dataset(::Nothing, name) = nothing
function python_dataset(data, name)
    padded = (data..., ntuple(Returns(nothing), 9 - length(data))...)
    x, y, xtest, ytest, owner, owner_test, xval, yval = map(own_array, padded[1:8])
    validation = xval === nothing ? nothing : (xval, yval)
    classes = padded[9] === nothing ? nothing : [c for c in JSON.parse(padded[9])]
    return Dataset(x, y, xtest, ytest; name = basename(name), owner, owner_test, validation,
        classes)
end

# Copied once: Julia's fast paths need its own arrays. A list has one for each client. Pairs
# of an array and its axes stand for files that stay where they are.
own_array(::Nothing) = nothing
own_array(pair::Tuple) = mapped_arrays([pair])
function own_array(a::AbstractArray)
    eltype(a) <: Real && return Array(a)
    listed = collect(Any, a)
    return first(listed) isa Tuple ? mapped_arrays(listed) : own_whole(listed)
end

mapped_arrays(pairs) = Mapped([wrapped(pair...) for pair in pairs]; owner = pairs)

"""
Julia's array over the memory of another's `a`, whose first axis varies fastest; its axes in
another order, if `axes` says which.
"""
function wrapped(a, axes)
    strides(a) == Base.size_to_strides(1, size(a)...) ||
        fail("a mapped array has strides ", strides(a), "; expected values without gaps")
    own = unsafe_wrap(Array, Ptr{eltype(a)}(pointer(a)), size(a))
    return axes === nothing ? own : PermutedDimsArray(own, Tuple(Int.(collect(axes))))
end

"The arrays of a list, joined along their last dimension in a new one."
function own_whole(arrays)
    T, dims = eltype(first(arrays)), size(first(arrays))[1:(end-1)]
    whole = Array{T}(undef, dims..., sum(a -> last(size(a)), arrays))
    filled = 0
    for a in arrays
        copyto!(whole, filled + 1, Array(a), 1, length(a))
        filled += length(a)
    end
    return whole
end

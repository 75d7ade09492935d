# For Python: the outputs of a trained model, and the model itself.

"""
    _pyoutputs(config, named, x, result) -> (json, array)

The raw outputs of `result`, a [`RunResult`](@ref) or a [`PersonalModel`](@ref), or, if
that is `nothing`, of the model that the JSON object `config` names, with the parameters in
`named` (see `_pyrun`). `config` also holds the `sample` (its size in NumPy), the number of
`outputs` and the contract of the `input`.
"""
_pyoutputs(config, named, x, result) =
    answer(Array{Float32}[]) do
        out =
            result === nothing ? raw_outputs(python_model(config, named)..., Array(x)) :
            raw_outputs(result, Array(x))
        Dict{String,Any}(), out
    end

"""
    _pymodel(config, named) -> (json, model)

The model that `config` names, as in `_pyoutputs`.
"""
_pymodel(config, named) =
    answer(() -> (Dict{String,Any}(), first(python_model(config, named))), nothing)

"""
    _pydescription(config, named, result) -> json

The layers of the model of `_pyoutputs`, as [`description`](@ref) says them.
"""
_pydescription(config, named, result) =
    json_answer() do
        model = result === nothing ? first(python_model(config, named)) : result.model
        Dict("layers" => description(model))
    end

raw_outputs(model, o::Options, input::InputContract, x) = raw_outputs(model, x, o, input)

"""
    _pypersonal(result, k) -> (json, arrays, personal)

The [`PersonalModel`](@ref) of client `k`, by number, and its arrays.
"""
_pypersonal(result::RunResult, k::Integer) =
    answer(Array{Float32}[], nothing) do
        check_personal(result)
        own = personal_model(result, k, k)
        Dict{String,Any}(), model_arrays(own), own
    end

function python_model(config, named)
    given = arguments(config)
    sample, outputs = pop!(given, :sample), pop!(given, :outputs)
    input = pop!(given, :input, nothing)        # none in a file of an older version
    o = Options(given)
    contract =
        input === nothing ? InputContract(nothing, nothing, o.mean, o.std) :
        InputContract(input)
    return named_model(o, sample, outputs, python_init(named)), o, contract
end

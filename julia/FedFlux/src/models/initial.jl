# Initial parameters that the user gives: in model order, or by name.

"""
    in_order(init, layout) -> arrays

The initial parameters in the order of a model's `layout`. `init` is a list in that order
already, or a Dict of arrays by name (`layers.1.weight`, …), in any order.

Throws a [`FedFluxError`](@ref) that names what is missing and what the model doesn't have,
or the first array of another size.

```julia
layout = FedFlux.Layout(Chain(Dense(2 => 1)))
given = Dict("layers.1.bias" => [0.0f0], "layers.1.weight" => [1.0f0 2.0f0])
FedFlux.in_order(given, layout)     # the weight, then the bias
```
"""
in_order(init, layout::Layout) = collect(init)

function in_order(init::AbstractDict, layout::Layout)
    given = Dict{String,Any}(string(name) => array for (name, array) in init)
    names = [slot.name for slot in layout.slots]
    missed = setdiff(names, keys(given))
    unknown = sort!(setdiff(collect(keys(given)), names))
    isempty(missed) && isempty(unknown) ||
        fail("init: ", isempty(missed) ? "" : "$(join(missed, ", ")) missing; ",
            isempty(unknown) ? "" : "the model has no $(join(unknown, ", ")); ",
            "expected ", join(names, ", "))
    for slot in layout.slots
        size(given[slot.name]) == slot.dims ||
            fail("init: ", slot.name, " has size ", size(given[slot.name]),
                ", and the model's is ", slot.dims, " (in Julia; NumPy reverses the axes)")
    end
    return [given[name] for name in names]
end

"""
    update_model!(model, params) -> model

Copy `params`, a list of arrays in model order such as [`aggregate_models`](@ref) returns,
into `model`. Throws a [`FedFluxError`](@ref) that names the first array that doesn't fit;
the model is then unchanged.

```julia
update_model!(model, aggregate_models([a, b]))
```
"""
function update_model!(model, params)
    slots = Layout(model).slots
    length(params) == length(slots) ||
        fail("update_model!: ", length(params), " arrays were given, and the model has ",
            length(slots))
    for (slot, p) in zip(slots, params)
        size(p) == slot.dims ||
            fail("update_model!: ", slot.name, " has size ", slot.dims,
                " in the model and ", size(p), " in what was given")
        all(isfinite, p) ||
            fail("update_model!: ", slot.name, " contains NaN or Inf in what was given")
    end
    foreach(copyto!, Optimisers.trainables(model), params)
    return model
end

"""
    update_model(model, params)

A copy of `model` that holds `params`; `model` stays as it is. See [`update_model!`](@ref).
"""
update_model(model, params) = update_model!(deepcopy(model), params)

"""
    with_initial(model, init) -> model

A copy of `model` that holds `init`: a list of its parameters in order; or arrays by name,
as a Dict or those of a result, among which may be its running statistics. Throws a
[`FedFluxError`](@ref) that names what doesn't fit.
"""
with_initial(model, init::Union{AbstractVector,Tuple}) =
    update_model(model, in_order(init, Layout(model)))
function with_initial(model, init::AbstractDict)
    model, given = deepcopy(model), Dict{String,Any}(string(k) => v for (k, v) in init)
    running = all_statistics(model)
    missed = setdiff(first.(running), keys(given))
    length(missed) in (0, length(running)) ||
        fail("init: ", join(missed, ", "), " missing; expected all statistics of the ",
            "model, or none")
    for (name, own) in running
        haskey(given, name) || continue
        a = pop!(given, name)
        size(a) == size(own) && all(isfinite, a) ||
            fail("init: ", name, " has size ", size(a),
                "; expected finite numbers of size ", size(own))
        copyto!(own, a)
    end
    return update_model!(model, in_order(given, Layout(model)))
end

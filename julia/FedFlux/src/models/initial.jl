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

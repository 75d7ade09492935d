# From a list of layers to operations with their buffers.

has_parameters(l) = !isempty(Optimisers.trainables(l))

"""
Call `f`, and add the layer's name to the reason of an `Unsupported` error, unless it names
a layer within.
"""
function with_layer_name(f, l::NamedLayer)
    try
        f()
    catch err
        err isa Unsupported && !startswith(err.reason, "layer ") || rethrow()
        throw(Unsupported(l.name * ": " * err.reason))
    end
end

"""
    lay_out!(operations, b, list, s, x, dx) -> (s, x, dx)

Add the operations of the layers of `list`, on the input `x` of shape `s` with the gradient
`dx`, or `nothing` if it needs none. Returns the same of the output.
"""
function lay_out!(operations, b, list, s, x, dx)
    for (i, named) in enumerate(list)
        layer = named.layer
        s, x, dx = with_layer_name(named) do
            after = output_shape(layer, s)
            min(after.C, after.W, after.H) >= 1 ||
                unsupported("nothing is left of an input of size $((s.W, s.H, s.C))")
            last = i == length(list)
            border = last ? NO_BORDER : input_border(list[i+1].layer, after)
            add_layer!(operations, b, layer, s, after, x, dx, border)
        end
    end
    return s, x, dx
end

"Add the operations of one layer, whose output gets a `border`."
function add_layer!(operations, b, layer, s, after, x, dx, border)
    needs_gradient = dx !== nothing || has_parameters(layer)
    y, dy = outputs(layer, b, s, after, x, dx, border, needs_gradient)
    push!(operations, make_operation(layer, b, s, x, dx, y, dy))
    return after, y, dy
end

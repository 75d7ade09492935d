# The plan: from a Flux model to a list of operations with their buffers laid out.

"The layers of a model in order: nested chains flattened, and each layer decomposed."
function named_layers(model, path = "")
    layers = model isa Chain ? values(model.layers) : (model,)
    subpath(i) = isempty(path) ? string(i) : string(path, '.', i)
    lists = [decompose_named(l, subpath(i)) for (i, l) in enumerate(layers)]
    return concatenated(NamedLayer, lists)
end

function decompose_named(l, path)
    l isa Chain && return named_layers(l, path)
    name = "layer $path, $(summary_of(l))"
    return [NamedLayer(part, name) for part in decompose(l)]
end

decompose(::typeof(identity)) = ()
decompose(l::Union{Conv,Dense}) = l.σ isa FROM_OUTPUT ? (l,) : (linear(l), Activation(l.σ))
decompose(f::Function) = (hasmethod(f, Tuple{Array{Float32,3}}) ? Activation(f) : f,)
decompose(::Union{typeof(Flux.flatten),typeof(MLUtils.flatten)}) = (Flatten(),)
decompose(f::Base.Broadcast.BroadcastFunction) = (Activation(f.f),)

"""
Move a convolution's relu into the max-pool after it. The two commute, and after the pool
there is less to do. (The gradient of a window of negative inputs is zero either way.)
"""
function fuse_relu_maxpool(list)
    list = copy(list)
    for i = 2:length(list)
        l = list[i-1].layer
        if list[i].layer isa MaxPool && l isa Conv && l.σ === relu
            list[i-1] = NamedLayer(linear(l), list[i-1].name)
            list[i] = NamedLayer(ReluMaxPool(list[i].layer), list[i].name)
        end
    end
    return list
end

"Call `f`, and add the layer's name to the reason of an `Unsupported` error."
function with_layer_name(f, l::NamedLayer)
    try
        f()
    catch err
        err isa Unsupported || rethrow()
        throw(Unsupported(l.name * ": " * err.reason))
    end
end

"""
    plan(model, dims, maxbatch, cpu)

The model's operations, over buffers for batches up to `maxbatch`. The input is in the
staging area. Values that don't depend on a parameter have no gradient.
"""
function plan(model, dims, maxbatch, cpu)
    list = fuse_relu_maxpool(named_layers(model))
    isempty(list) && unsupported("the model has no layers")
    b = Builder(model, maxbatch, cpu)
    s = with_layer_name(() -> Shape(dims, list[1].layer), list[1])
    kind = s.kind
    list = fuse_embedding(list, s.W * maxbatch)
    border = with_layer_name(() -> input_border(list[1].layer, s), list[1])
    input = x = Buffer(0, s.C, s.W, s.H, border..., true)
    dx = nothing
    operations = Operation[]
    for (i, named) in enumerate(list)
        layer = named.layer
        op, s, x, dx = with_layer_name(named) do
            after = output_shape(layer, s)
            min(after.C, after.W, after.H) >= 1 ||
                unsupported("nothing is left of an input of size $((s.W, s.H, s.C))")
            last = i == length(list)
            next_border = last ? (0, 0, 0, 0) : input_border(list[i+1].layer, after)
            needs_gradient = dx !== nothing || !isempty(Optimisers.trainables(layer))
            y, dy = outputs(layer, b, s, after, x, dx, next_border, needs_gradient)
            make_operation(layer, b, s, x, dx, y, dy), after, y, dy
        end
        push!(operations, op)
    end
    isempty(b.slots) || unsupported("the model has parameters outside its layers")
    isempty(b.statistics) || unsupported("the model has statistics outside its layers")
    dx === nothing && unsupported("the model has no parameters")
    return (;
        operations, builder = b, input, output = x, gradient = dx,
        shape = s, kind
    )
end

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
    l isa Padded && return named_layers(l.layers, path)
    name = "layer $path, $(summary_of(l))"
    l isa Union{SkipConnection,Parallel} && return [NamedLayer(branches(l, path), name)]
    return [NamedLayer(part, name) for part in decompose(l)]
end

function branches(l::SkipConnection, path)
    inner = fused(named_layers(l.layers, path))
    return Branches(joined_by(l.connection), [inner, NamedLayer[]])
end
branches(l::Parallel, path) = Branches(
    joined_by(l.connection),
    [fused(decompose_named(b, "$path.$i")) for (i, b) in enumerate(values(l.layers))]
)

decompose(::typeof(identity)) = ()
decompose(l::Union{Conv,Dense}) =
    l.σ isa FROM_OUTPUT ? (l,) : (linear(l), Activation(l.σ))
decompose(f::Function) = (hasmethod(f, Tuple{Array{Float32,3}}) ? Activation(f) : f,)
decompose(f::typeof(as_sequence)) = (f,)
output_shape(::typeof(as_sequence), s::Shape) =
    unsupported("it must be the first layer of several")

"The axes of the sequences that `as_sequence` makes of images of one row."
without_row(dims::Dims) = length(dims) == 3 && dims[3] == 1 ? dims[1:2] : dims

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

"Move an activation into the sum of branches before it."
function fuse_activation_sum(list)
    fused = NamedLayer[]
    for named in list
        l, before = named.layer, isempty(fused) ? nothing : last(fused).layer
        if l isa Activation{<:FROM_OUTPUT} && before isa Branches &&
           before.join == Sum(identity)
            joined = Branches(Sum(l.σ), before.lists)
            fused[end] = NamedLayer(joined, last(fused).name)
        else
            push!(fused, named)
        end
    end
    return fused
end

fused(list) = fuse_activation_sum(fuse_relu_maxpool(list))

"""
    plan(model, dims, maxbatch, cpu)

The model's operations, over buffers for batches up to `maxbatch`. The input is in the
staging area. Values that don't depend on a parameter have no gradient.
"""
function plan(model, dims, maxbatch, cpu)
    check_padded(model)
    list = fused(named_layers(model))
    isempty(list) && unsupported("the model has no layers")
    b = Builder(model, maxbatch, cpu)
    if list[1].layer === as_sequence && length(list) > 1
        list, dims = list[2:end], without_row(dims)
    end
    s = with_layer_name(() -> Shape(dims, [l.layer for l in list]), list[1])
    kind = s.kind
    list = fuse_embedding(list, s.W * maxbatch)
    border = with_layer_name(() -> input_border(list[1].layer, s), list[1])
    input = x = Buffer(0, s.C, s.W, s.H, border..., true)
    operations = Operation[]
    s, x, dx = lay_out!(operations, b, list, s, x, nothing)
    isempty(b.slots) || unsupported("the model has parameters outside its layers")
    isempty(b.statistics) || unsupported("the model has statistics outside its layers")
    dx === nothing && unsupported("the model has no parameters")
    return (;
        operations, builder = b, input, output = x, gradient = dx,
        shape = s, kind
    )
end

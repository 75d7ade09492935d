# The plan: from a Flux model to a tuple of operations with their buffers laid out.

"""
    Builder(model, maxbatch, cpu)

The state of a plan in progress: the slots of the parameters and statistics that are still
unused, the orders of the parameters that the engine holds differently, and the size of the
workspace.
"""
mutable struct Builder
    slots::IdDict{Any,UnitRange{Int}}
    statistics::IdDict{Any,UnitRange{Int}}
    orders::Vector{Pair{UnitRange{Int},Order}}
    workspace::Int
    maxbatch::Int
    cpu::CPU
end

function Builder(model, maxbatch, cpu)
    function ranges(arrays)
        stops = cumsum(length.(arrays))
        slots = (a => s-length(a)+1:s for (a, s) in zip(arrays, stops))
        return IdDict{Any,UnitRange{Int}}(slots)
    end
    parameters = ranges(Optimisers.trainables(model))
    return Builder(parameters, ranges(statistics(model)), [], 0, maxbatch, cpu)
end

"""
The offset of a parameter array. Takes its slot, so each array can be used once. `order` is
the order in which the engine holds it, or `nothing` for the model's.
"""
function parameter!(b::Builder, a, order = nothing)
    a isa Array{Float32} ||
        unsupported("a parameter is a $(typeof(a)); expected Array{Float32}")
    haskey(b.slots, a) ||
        unsupported("a parameter array of size $(size(a)) isn't trained, or is used twice")
    range = pop!(b.slots, a)
    order === nothing || push!(b.orders, range => order)
    return first(range) - 1
end

"The offset of `n` more floats of workspace, at the start of a cache line."
function workspace!(b::Builder, n)
    from = b.workspace
    b.workspace += cld(n, 16) * 16
    return from
end

"A new buffer for values of shape `s`."
function buffer!(b::Builder, s::Shape, border::Border)
    buffer_at(at) = Buffer(at, s.C, s.W, s.H, border..., false)
    return buffer_at(workspace!(b, sample_stride(buffer_at(0)) * b.maxbatch))
end

"A layer, and its name in messages."
struct NamedLayer
    layer
    name::String
end

"The layers of a model in order: nested chains flattened, and each layer decomposed."
function named_layers(model, path = "")
    layers = model isa Chain ? values(model.layers) : (model,)
    subpath(i) = isempty(path) ? string(i) : string(path, '.', i)
    lists = [decompose_named(l, subpath(i)) for (i, l) in enumerate(layers)]
    return reduce(vcat, lists; init = NamedLayer[])
end

function decompose_named(l, path)
    l isa Chain && return named_layers(l, path)
    name = "layer $path, $(summary_of(l))"
    return [NamedLayer(part, name) for part in decompose(l)]
end

linear(l::Conv) = Conv(identity, l.weight, l.bias, l.stride, l.pad, l.dilation, l.groups)
linear(l::Dense) = Dense(l.weight, l.bias)

"""
The simpler layers that `l` consists of: an activation that `l` can't fuse becomes a layer
of its own, and a layer that does nothing becomes `()`.
"""
decompose(l) = (l,)
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
    for i in 2:length(list)
        l = list[i-1].layer
        if list[i].layer isa MaxPool && l isa Conv && l.σ === relu
            list[i-1] = NamedLayer(linear(l), list[i-1].name)
            list[i] = NamedLayer(ReluMaxPool(list[i].layer), list[i].name)
        end
    end
    return list
end

"The shape of the layer's output. Supported layers have a method."
output_shape(l, s::Shape) = unsupported("the fast engine doesn't support this layer")

"The border that a layer needs around its input."
input_border(l, s::Shape) = (0, 0, 0, 0)

"The border that a layer needs around the gradient of its output."
gradient_border(l, s::Shape) = (0, 0, 0, 0)

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
    operations = []
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
            build(layer, b, s, x, dx, y, dy), after, y, dy
        end
        push!(operations, op)
    end
    isempty(b.slots) || unsupported("the model has parameters outside its layers")
    isempty(b.statistics) || unsupported("the model has statistics outside its layers")
    dx === nothing && unsupported("the model has no parameters")
    return (;
        operations = Tuple(operations), builder = b, input, output = x, gradient = dx,
        shape = s, kind,
    )
end

"The buffers of a layer's output, with a `border`, and of the output's gradient."
function outputs(l, b, s, after, x, dx, border, needs_gradient)
    y = buffer!(b, after, border)
    dy = needs_gradient ? buffer!(b, after, gradient_border(l, s)) : nothing
    return y, dy
end

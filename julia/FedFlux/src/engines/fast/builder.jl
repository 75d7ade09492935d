# What the layers build on: parameters and memory in use, and the interface of a layer.

"""
    Builder(model, maxbatch, cpu)

The state of a plan in progress: the slots of the parameters and statistics that are still
unused, the orders of the parameters that the engine holds differently, and the sizes of the
workspace and of the examples' gradients, and where the lengths of a batch's sequences are.
"""
mutable struct Builder
    slots::IdDict{Any,UnitRange{Int}}
    statistics::IdDict{Any,UnitRange{Int}}
    orders::Vector{Pair{UnitRange{Int},Order}}
    workspace::Int
    examples::Int
    maxbatch::Int
    lengths::Vector{Int}     # of a batch's sequences; empty where they are all alike
    cpu::CPU
end

function Builder(model, maxbatch, cpu)
    parameters = Optimisers.trainables(model)
    running = [statistics(model); fixed_moments(model)]
    lengths = padding_of(model) === nothing ? Int[] : zeros(Int, maxbatch)
    return Builder(
        ranges_of(parameters), ranges_of(running), [], 0, 0, maxbatch, lengths, cpu
    )
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
    layer::Any
    name::String
end

"""
The simpler layers that `l` consists of: an activation that `l` can't fuse becomes a layer
of its own, and a layer that does nothing becomes `()`.
"""
decompose(l) = (l,)

linear(l::Conv) = Conv(identity, l.weight, l.bias, l.stride, l.pad, l.dilation, l.groups)
linear(l::Dense) = Dense(l.weight, l.bias)

"The shape of the layer's output. Supported layers have a method."
output_shape(l, s::Shape) = unsupported("the fast engine doesn't support this layer")

"The border that a layer needs around its input."
input_border(l, s::Shape) = NO_BORDER

"The border that a layer needs around the gradient of its output."
gradient_border(l, s::Shape) = NO_BORDER

"The operation of a layer, over its buffers. Supported layers have a method."
function make_operation end

"The buffers of a layer's output, with a `border`, and of the output's gradient."
function outputs(l, b, s, after, x, dx, border, needs_gradient)
    y = buffer!(b, after, border)
    dy = needs_gradient ? buffer!(b, after, gradient_border(l, s)) : nothing
    return y, dy
end

# The shape of a layer's input, from Flux's point of view and from the engine's.

"""
    Shape(kind, C, W, H, flat = nothing)

The shape of one sample of a layer's input. `kind` is `:features` (F), `:sequence` (F, T),
`:image` (W, H, C), `:signal` (W, C), `:tokens` (T) or `:token`; `C`, `W`, `H` are as in
[`Buffer`](@ref).
`flat` is the size (W, H, C) of an image that was flattened: the engine keeps its features
channels first.
"""
struct Shape
    kind::Symbol
    C::Int
    W::Int
    H::Int
    flat::Union{Nothing,Dims{3}}
end
Shape(kind, C, W, H) = Shape(kind, C, W, H, nothing)

"Whether a layer takes what has a single axis beside the channels, (W, C)."
takes_signals(layer) = false

"Pixels in channels: an image, or a signal, an image of one row without the second axis."
has_pixels(s::Shape) = s.kind in (:image, :signal)

"""
Throw unless `s` has pixels along `dims` axes; `what` names the layers that need them.
"""
function check_pixels(what, dims, s::Shape)
    s.kind === :image && dims == 2 && return
    s.kind === :signal && dims == 1 && return
    unsupported("$what work on images (W, H, C) and, of one dimension, on signals (W, C)")
end

"The shape of samples of size `dims` for a model of these layers."
function Shape(dims::Dims, layers)
    if first(layers) isa Embedding
        length(dims) <= 1 || unsupported("samples of size $dims; expected tokens (T,)")
        return Shape(isempty(dims) ? :token : :tokens, 1, prod(dims), 1)
    end
    length(dims) == 1 && return Shape(:features, dims[1], 1, 1)
    length(dims) == 2 && any(takes_signals, layers) &&
        return Shape(:signal, dims[2], dims[1], 1)
    length(dims) == 2 && return Shape(:sequence, dims[1], dims[2], 1)
    length(dims) == 3 && return Shape(:image, dims[3], dims[1], dims[2])
    unsupported("samples of size $dims; expected (W, H, C), (W, C), (F, T) or (F,)")
end

unsupported(reason) = throw(Unsupported(reason))

# The shape of a layer's input, from Flux's point of view and from the engine's.

"""
    Shape(kind, C, W, H, flat = nothing)

The shape of one sample of a layer's input. `kind` is `:features` (F), `:sequence` (F, T),
`:image` (W, H, C), `:tokens` (T) or `:token`; `C`, `W`, `H` are as in [`Buffer`](@ref).
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

"The shape of samples of size `dims`; `first` is the model's first layer."
function Shape(dims::Dims, first)
    if first isa Embedding
        length(dims) <= 1 || unsupported("samples of size $dims; expected tokens (T,)")
        return Shape(isempty(dims) ? :token : :tokens, 1, prod(dims), 1)
    end
    length(dims) == 1 && return Shape(:features, dims[1], 1, 1)
    length(dims) == 2 && return Shape(:sequence, dims[1], dims[2], 1)
    length(dims) == 3 && return Shape(:image, dims[3], dims[1], dims[2])
    unsupported("samples of size $dims; expected (W, H, C), (F, T) or (F,)")
end

unsupported(reason) = throw(Unsupported(reason))

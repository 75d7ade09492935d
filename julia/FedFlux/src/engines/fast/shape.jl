# What a layer is given, from Flux's point of view and from the engine's.

"""
What reaches a layer: `kind` is `:features` (F), `:sequence` (F, T), `:image` (W, H, C), `:tokens` (T) or `:token`; `C`, `W`, `H`
as in [`Buffer`](@ref). `flat` is the (W, H, C) of an image that was flattened: its features stay channels first here.
"""
struct Shape
    kind::Symbol
    C::Int
    W::Int
    H::Int
    flat::Union{Nothing,Dims{3}}
end
Shape(kind, C, W, H) = Shape(kind, C, W, H, nothing)

function Shape(dims::Dims, first)
    if first isa Embedding
        length(dims) <= 1 || unsupported("samples of size $dims; tokens have (T,)")
        return Shape(isempty(dims) ? :token : :tokens, 1, prod(dims), 1)
    end
    length(dims) == 1 && return Shape(:features, dims[1], 1, 1)
    length(dims) == 2 && return Shape(:sequence, dims[1], dims[2], 1)
    length(dims) == 3 && return Shape(:image, dims[3], dims[1], dims[2])
    unsupported("samples of size $dims; it takes (W, H, C), (F, T) and (F,)")
end

unsupported(reason) = throw(Unsupported(reason))

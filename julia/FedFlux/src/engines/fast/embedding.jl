# Embedding: the column of the weights for each token, counted from 1.

struct EmbeddingOp <: Operation
    x::Buffer
    y::Buffer
    dy::Buffer
    w::Int
    vocabulary::Int
end

function output_shape(l::Embedding, s::Shape)
    s.kind in (:token, :tokens) ||
        unsupported("Embedding takes tokens, and must be the first layer")
    hasproperty(l, :padding_idx) &&
        l.padding_idx !== nothing &&
        unsupported("Embedding has a padding_idx")
    return Shape(s.kind === :token ? :features : :sequence, size(l.weight, 1), s.W, 1)
end

function make_operation(l::Embedding, b::Builder, s::Shape, x, dx, y, dy)
    return EmbeddingOp(x, y, dy, parameter!(b, l.weight), size(l.weight, 2))
end

"The vocabulary size of a first layer that takes tokens, else 0."
vocabulary(::Operation) = 0
vocabulary(o::EmbeddingOp) = o.vocabulary

"""
Call `f(column, i)` for each token: the offset of its column in the weights, and its
position in the batch.
"""
@inline function each_token(f::F, o::EmbeddingOp, p::Pass, lo, hi) where {F}
    tokens = Ptr{Int32}(address(p, o.x))
    for i = (lo*o.x.W):((hi+1)*o.x.W-1)
        f(o.y.C * (Int(unsafe_load(tokens, i + 1)) - 1), i)
    end
end

function forward!(o::EmbeddingOp, p::Pass, lo, hi)
    each_token(o, p, lo, hi) do column, i
        unsafe_copyto!(at(address(p, o.y), o.y.C * i), at(p.w, o.w + column), o.y.C)
    end
end

backward!(o::EmbeddingOp, p::Pass, lo, hi) = embedding_gradient!(o, p, lo, hi, false)

function embedding_gradient!(o::EmbeddingOp, p::Pass, lo, hi, accumulate)
    accumulate || zeros!(at(p.g, o.w), o.y.C * o.vocabulary)
    each_token(o, p, lo, hi) do column, i
        add_values!(at(p.g, o.w + column), at(address(p, o.dy), o.y.C * i), o.y.C)
    end
end

# Dense layers, over all columns: samples, or samples × time steps.

"""
    DenseOp

`y = σ(w·x + b)` on each column. After a flatten of an image the columns of `w` are in the
engine's order of the features; see [`Order`](@ref).
"""
struct DenseOp{S,DX} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    b::Int          # -1: no bias
    gemm::Gemm
    packed::Int     # workspace: a block of the weights, transposed
    examples::ExampleWeights
    biases::ExampleValues
end

function output_shape(l::Dense, s::Shape)
    has_pixels(s) &&
        unsupported("Dense works on the first axis of the pixels: flatten them first")
    size(l.weight, 2) == s.C ||
        unsupported("it takes $(size(l.weight, 2)) features, but its input has $(s.C)")
    return Shape(s.kind, size(l.weight, 1), s.W, s.H)
end

function make_operation(l::Dense, b::Builder, s::Shape, x, dx, y, dy)
    w = parameter!(b, l.weight, column_order(s, size(l.weight, 1)))
    gemm = Gemm(b.cpu, y.C, x.C, x.C, y.C, columns(x, b.maxbatch))
    bias = l.bias === false ? -1 : parameter!(b, l.bias)
    packed = workspace!(b, packing_length(gemm))
    examples = ExampleWeights(b, x.C, y.C, pixels(x))
    biases = ExampleValues(b, bias < 0 ? 0 : y.C)
    return DenseOp(l.σ, x, dx, y, dy, w, bias, gemm, packed, examples, biases)
end

columns(b::Buffer, n) = b.W * b.H * n

function forward!(o::DenseOp, p::Pass, lo, hi)
    bias = o.b < 0 ? Ptr32(C_NULL) : at(p.w, o.b)
    n = columns(o.x, hi - lo + 1)
    gemm!(o.σ, o.gemm, address(p, o.y, lo), at(p.w, o.w), address(p, o.x, lo), n; bias)
end

function backward!(o::DenseOp, p::Pass, lo, hi)
    n = columns(o.x, hi - lo + 1)
    dy = address(p, o.dy, lo)
    db = o.b < 0 ? Ptr32(C_NULL) : at(p.g, o.b)
    epilogue_backward!(o.σ, p, o.y, o.dy, db, lo, hi)
    gemm_weight_gradient!(o.gemm, at(p.g, o.w), dy, address(p, o.x, lo), n)
    dense_input_gradient!(o, p, lo, hi)
end

function dense_input_gradient!(o::DenseOp, p::Pass, lo, hi)
    o.dx === nothing && return
    n, packed = columns(o.x, hi - lo + 1), at(p.arena, o.packed)
    dx, dy = address(p, o.dx, lo), address(p, o.dy, lo)
    gemm_input_gradient!(o.gemm, dx, at(p.w, o.w), dy, n, packed)
end

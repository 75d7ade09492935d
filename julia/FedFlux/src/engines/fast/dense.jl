# Dense layers, over all columns: samples, or samples × time.

"`y = σ(w·x + b)` on each column; a leading flatten of an image reorders the columns of `w`, which `Order` takes care of."
struct DenseOp{S,DX,P<:Product} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    b::Int          # -1: no bias
    product::P
    block::Int      # workspace: a block of the weights, transposed
end

function shape_after(l::Dense, s::Shape)
    s.kind === :image && unsupported("Dense works on the first dimension of an image: flatten it first")
    size(l.weight, 2) == s.C || unsupported("it takes $(size(l.weight, 2)) features, and $(s.C) reach it")
    return Shape(s.kind, size(l.weight, 1), s.W, s.H)
end

function build(l::Dense, b::Builder, s::Shape, x, dx, y, dy)
    w = parameter!(b, l.weight, column_order(s, size(l.weight, 1)))
    product = Product(b.cpu, y.C, x.C, x.C, y.C, columns(x, b.maxbatch))
    return DenseOp(l.σ, x, dx, y, dy, w, l.bias === false ? -1 : parameter!(b, l.bias), product, workspace!(b, scratch(product)))
end

columns(b::Buffer, n) = b.W * b.H * n

forward!(o::DenseOp, p::Pass, lo, hi) =
    multiply!(o.σ, o.product, address(p, o.y, lo), at(p.w, o.w), address(p, o.x, lo), columns(o.x, hi - lo + 1);
              bias = o.b < 0 ? Ptr32(C_NULL) : at(p.w, o.b))

function backward!(o::DenseOp, p::Pass, lo, hi)
    n = columns(o.x, hi - lo + 1)
    dy = address(p, o.dy, lo)
    pull_bias!(o.σ, p, o.y, o.dy, o.b < 0 ? Ptr32(C_NULL) : at(p.g, o.b), lo, hi)
    outer!(o.product, at(p.g, o.w), dy, address(p, o.x, lo), n)
    o.dx === nothing || multiply_back!(o.product, address(p, o.dx, lo), at(p.w, o.w), dy, n, at(p.arena, o.block))
end

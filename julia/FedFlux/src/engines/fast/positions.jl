# Learned positions: a vector for each step, added to it.

struct PositionsOp{DX} <: Operation
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    w::Int
    longest::Int
end

function output_shape(l::Positions, s::Shape)
    s.kind === :sequence || unsupported("Positions takes sequences (F, T)")
    size(l.weight, 1) == s.C ||
        unsupported("it adds $(size(l.weight, 1)) values to $(s.C)")
    size(l.weight, 2) >= s.W ||
        unsupported("it has vectors for $(size(l.weight, 2)) steps, not $(s.W)")
    return s
end

make_operation(l::Positions, b::Builder, s::Shape, x, dx, y, dy) =
    PositionsOp(x, dx, y, dy, parameter!(b, l.weight), size(l.weight, 2))

function forward!(o::PositionsOp, p::Pass, lo, hi)
    for n = lo:hi
        x, y, w = address(p, o.x, n), address(p, o.y, n), at(p.w, o.w)
        each_vector(Val(16), features(o.y)) do i, width, mask
            sum = load(width, at(x, i), mask) + load(width, at(w, i), mask)
            store(sum, at(y, i), mask)
        end
    end
end

function backward!(o::PositionsOp, p::Pass, lo, hi)
    backpropagate!(o, p, lo, hi)
    used = features(o.y)
    dw = at(p.g, o.w)
    sum_columns!(dw, address(p, o.dy, lo), used, hi - lo + 1, false)
    zeros!(at(dw, used), o.y.C * o.longest - used)
end

# For clipped gradients: an example's gradient is that of its outputs.

function backpropagate!(o::PositionsOp, p::Pass, lo, hi)
    o.dx === nothing && return
    unsafe_copyto!(
        address(p, o.dx, lo), address(p, o.dy, lo), features(o.y) * (hi - lo + 1)
    )
end

example_norm!(o::PositionsOp, p::Pass, n) =
    sum_of_squares(address(p, o.dy, n), features(o.y))

scale_example!(o::PositionsOp, p::Pass, n, factor) =
    scale_values!(address(p, o.dy, n), factor, features(o.y))

function sum_examples!(o::PositionsOp, p::Pass, factors, lo, hi, accumulate)
    used, dw = features(o.y), at(p.g, o.w)
    sum_columns!(dw, address(p, o.dy, lo), used, hi - lo + 1, accumulate)
    accumulate || zeros!(at(dw, used), o.y.C * o.longest - used)
    return nothing
end

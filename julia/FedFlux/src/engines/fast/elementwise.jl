# Elementwise layers: activations on their own, and flatten, which reads its input as
# features.

"A layer that applies `σ` to each value."
struct Activation{S}
    σ::S
end

struct ActivationOp{S,DX,DY} <: Operation
    σ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
end

function output_shape(l::Activation, s::Shape)
    l.σ isa Union{FROM_OUTPUT,FROM_INPUT} || unsupported("unsupported activation $(l.σ)")
    return s
end

function make_operation(l::Activation, b::Builder, s::Shape, x, dx, y, dy)
    return ActivationOp(l.σ, x, dx, y, dy)
end

"""
Call `f(k, width, mask)` for each vector of the rows of the samples lo:hi. `k(buffer)` is
the vector's address in a buffer.
"""
@inline function each_row_vector(f::F, p::Pass, b::Buffer, lo, hi) where {F}
    for n = lo:hi, j = 0:(b.H-1)
        each_vector(Val(16), b.W * b.C) do i, width, mask
            f(buffer -> at(address(p, buffer, n), offset(buffer, 0, j) + i), width, mask)
        end
    end
end

function forward!(o::ActivationOp, p::Pass, lo, hi)
    zeroborder!(p, o.y, lo, hi)
    each_row_vector(p, o.y, lo, hi) do k, width, mask
        store(activate(o.σ, load(width, k(o.x), mask)), k(o.y), mask)
    end
end

function backward!(o::ActivationOp, p::Pass, lo, hi)
    o.dx === nothing && return
    zeroborder!(p, o.dx, lo, hi)
    each_row_vector(p, o.y, lo, hi) do k, width, mask
        dy = load(width, k(o.dy), mask)
        store(backprop_at(o.σ, width, k(o.x), k(o.y), mask, dy), k(o.dx), mask)
    end
end

"Backpropagate `dy` through σ, from its input or output at the addresses `x` and `y`."
@inline function backprop_at(σ::FROM_OUTPUT, width, x, y, mask, dy)
    return backprop(σ, load(width, y, mask), dy)
end
@inline function backprop_at(σ::FROM_INPUT, width, x, y, mask, dy)
    return deriv_from_input(σ, load(width, x, mask)) * dy
end

struct Flatten end

struct FlattenOp{DX,DY} <: Operation
    dx::DX
    dy::DY
end

function output_shape(::Flatten, s::Shape)
    s.kind in (:token, :tokens) && unsupported("flatten doesn't take tokens")
    s.kind === :features && return s
    flat = has_pixels(s) && s.C > 1 && s.W * s.H > 1 ? (s.W, s.H, s.C) : nothing
    return Shape(:features, s.C * s.W * s.H, 1, 1, flat)
end

function outputs(::Flatten, b, s, after, x, dx, border, needs_gradient)
    as_features(f) = Buffer(f.at, after.C, 1, 1, 0, 0, 0, 0, f.staged)
    dx === nothing && return as_features(x), nothing
    return as_features(x), isdense(dx) ? as_features(dx) : buffer!(b, after, NO_BORDER)
end

make_operation(::Flatten, b::Builder, s::Shape, x, dx, y, dy) = FlattenOp(dx, dy)

forward!(::FlattenOp, p::Pass, lo, hi) = nothing

function backward!(o::FlattenOp, p::Pass, lo, hi)
    (o.dx === nothing || o.dx.at == o.dy.at) && return
    zeroborder!(p, o.dx, lo, hi)
    image = Buffer(o.dy.at, o.dx.C, o.dx.W, o.dx.H, 0, 0, 0, 0, false)
    copy_rows!(p, o.dx, image, lo, hi)
end

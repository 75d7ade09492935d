# Activation functions on vectors, and their derivatives.

# Activations whose derivative follows from the output y alone; layers can fuse these.
const FROM_OUTPUT = Union{
    typeof(identity),
    typeof(relu),
    typeof(tanh),
    typeof(tanh_fast),
    typeof(sigmoid),
    typeof(sigmoid_fast),
    typeof(leakyrelu),
    typeof(elu)
}
# Activations whose derivative needs the input x.
const FROM_INPUT = Union{
    typeof(gelu),
    typeof(swish),
    typeof(softplus),
    typeof(softsign),
    typeof(relu6),
    typeof(hardsigmoid),
    typeof(hardtanh),
    typeof(logsigmoid)
}

@inline activate(::typeof(identity), x) = x
@inline activate(::typeof(relu), x) = select(x < 0.0f0, 0.0f0, x)
@inline activate(::Union{typeof(tanh),typeof(tanh_fast)}, x) = fasttanh(x)
@inline activate(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, x) = fastsigmoid(x)
@inline activate(::typeof(leakyrelu), x) = select(x > 0.0f0, x, 0.01f0 * x)
@inline activate(::typeof(elu), x) = select(x >= 0.0f0, x, fastexp(x) - 1.0f0)

"The derivative of σ, from its output y."
@inline deriv_from_output(::typeof(relu), y) = select(y > 0.0f0, one(y), zero(y))
@inline deriv_from_output(::Union{typeof(tanh),typeof(tanh_fast)}, y) = 1.0f0 - y * y
@inline function deriv_from_output(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, y)
    return y * (1.0f0 - y)
end
@inline function deriv_from_output(::typeof(leakyrelu), y)
    return select(y > 0.0f0, one(y), zero(y) + 0.01f0)
end
@inline deriv_from_output(::typeof(elu), y) = select(y >= 0.0f0, one(y), y + 1.0f0)

"Backpropagate `dy` through σ: `dy` times the derivative, from the output y."
@inline backprop(::typeof(identity), y, dy) = dy
@inline backprop(::typeof(relu), y, dy) = select(y > 0.0f0, dy, zero(dy))
@inline backprop(σ::F, y, dy) where {F} = deriv_from_output(σ, y) * dy

# gelu in its tanh form, as in NNlib: x·s(2u) with u = √(2/π)·(x + 0.044715x³) and s the
# logistic function.
@inline gelu_gate(x) = fastsigmoid(1.5957692f0 * x * muladd(0.044715f0, x * x, 1.0f0))

@inline activate(::typeof(gelu), x) = x * gelu_gate(x)
@inline activate(::typeof(swish), x) = x * fastsigmoid(x)
@inline activate(::typeof(softplus), x) = max(x, zero(x)) + fastlog1p(fastexp(-abs(x)))
@inline activate(::typeof(logsigmoid), x) = -activate(softplus, -x)
@inline activate(::typeof(softsign), x) = x / (1.0f0 + abs(x))
@inline activate(::typeof(relu6), x) = min(max(x, 0.0f0), 6.0f0)
@inline activate(::typeof(hardtanh), x) = min(max(x, -1.0f0), 1.0f0)
@inline activate(::typeof(hardsigmoid), x) = min(max((x + 3.0f0) / 6.0f0, 0.0f0), 1.0f0)

"The derivative of σ, from its input x."
@inline function deriv_from_input(::typeof(gelu), x)
    s = gelu_gate(x)
    return muladd(x * s * (1.0f0 - s), 1.5957692f0 * muladd(0.134145f0, x * x, 1.0f0), s)
end
@inline function deriv_from_input(::typeof(swish), x)
    s = fastsigmoid(x)
    return muladd(x * s, 1.0f0 - s, s)
end
@inline deriv_from_input(::typeof(softplus), x) = fastsigmoid(x)
@inline deriv_from_input(::typeof(logsigmoid), x) = fastsigmoid(-x)
@inline function deriv_from_input(::typeof(softsign), x)
    d = 1.0f0 + abs(x)
    return 1.0f0 / (d * d)
end
@inline function deriv_from_input(::typeof(relu6), x)
    return select((x > 0.0f0) & (x < 6.0f0), one(x), zero(x))
end
@inline function deriv_from_input(::typeof(hardtanh), x)
    return select((x > -1.0f0) & (x < 1.0f0), one(x), zero(x))
end
@inline function deriv_from_input(::typeof(hardsigmoid), x)
    return select((x > -3.0f0) & (x < 3.0f0), one(x) / 6.0f0, zero(x))
end

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
    typeof(elu),
    typeof(NNlib.celu)
}
# Activations whose derivative needs the input x.
const FROM_INPUT = Union{
    typeof(gelu),
    typeof(gelu_exact),
    typeof(swish),
    typeof(softplus),
    typeof(softsign),
    typeof(relu6),
    typeof(hardsigmoid),
    typeof(hardtanh),
    typeof(logsigmoid),
    typeof(NNlib.gelu_sigmoid),
    typeof(NNlib.hardswish),
    typeof(NNlib.lisht),
    typeof(NNlib.logcosh),
    typeof(NNlib.mish),
    typeof(NNlib.selu),
    typeof(NNlib.softshrink),
    typeof(NNlib.tanhshrink),
    typeof(NNlib.trelu)
}

@inline activate(::typeof(identity), x) = x
@inline activate(::typeof(relu), x) = select(x < 0.0f0, 0.0f0, x)
@inline activate(::Union{typeof(tanh),typeof(tanh_fast)}, x) = fasttanh(x)
@inline activate(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, x) = fastsigmoid(x)
@inline activate(::typeof(leakyrelu), x) = select(x > 0.0f0, x, 0.01f0 * x)
const Elu = Union{typeof(elu),typeof(NNlib.celu)}      # the same with α = 1
@inline activate(::Elu, x) = select(x >= 0.0f0, x, fastexp(x) - 1.0f0)

"The derivative of σ, from its output y."
@inline deriv_from_output(::typeof(relu), y) = select(y > 0.0f0, one(y), zero(y))
@inline deriv_from_output(::Union{typeof(tanh),typeof(tanh_fast)}, y) = 1.0f0 - y * y
@inline function deriv_from_output(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, y)
    return y * (1.0f0 - y)
end
@inline function deriv_from_output(::typeof(leakyrelu), y)
    return select(y > 0.0f0, one(y), zero(y) + 0.01f0)
end
@inline deriv_from_output(::Elu, y) = select(y >= 0.0f0, one(y), y + 1.0f0)

"Backpropagate `dy` through σ: `dy` times the derivative, from the output y."
@inline backprop(::typeof(identity), y, dy) = dy
@inline backprop(::typeof(relu), y, dy) = select(y > 0.0f0, dy, zero(dy))
@inline backprop(σ::F, y, dy) where {F} = deriv_from_output(σ, y) * dy

const Gelu = Union{typeof(gelu),typeof(NNlib.gelu_sigmoid)}

# gelu in its tanh form, as in NNlib: x·s(2u) with u = √(2/π)·(x + 0.044715x³) and s
# the logistic function.
@inline gelu_gate(x) = fastsigmoid(1.5957692f0 * x * muladd(0.044715f0, x * x, 1.0f0))

@inline activate(::Gelu, x) = x * gelu_gate(x)
@inline activate(::typeof(gelu_exact), x) = x * fast_normal_cdf(x)
@inline activate(::typeof(swish), x) = x * fastsigmoid(x)
@inline activate(::typeof(softplus), x) = max(x, zero(x)) + fastlog1p(fastexp(-abs(x)))
@inline activate(::typeof(logsigmoid), x) = -activate(softplus, -x)
@inline activate(::typeof(softsign), x) = x / (1.0f0 + abs(x))
@inline activate(::typeof(relu6), x) = min(max(x, 0.0f0), 6.0f0)
@inline activate(::typeof(hardtanh), x) = min(max(x, -1.0f0), 1.0f0)
@inline activate(::typeof(hardsigmoid), x) = min(max((x + 3.0f0) / 6.0f0, 0.0f0), 1.0f0)
@inline activate(::typeof(NNlib.hardswish), x) = x * activate(hardsigmoid, x)
@inline activate(::typeof(NNlib.lisht), x) = x * fasttanh(x)
@inline activate(::typeof(NNlib.logcosh), x) =
    abs(x) + fastlog1p(fastexp(-2.0f0 * abs(x))) - 0.6931472f0
@inline activate(::typeof(NNlib.mish), x) = x * first(mish_gate(x))
@inline activate(::typeof(NNlib.selu), x) =
    1.050701f0 * select(x > 0.0f0, x, 1.6732632f0 * (fastexp(x) - 1.0f0))
@inline activate(::typeof(NNlib.softshrink), x) = x - min(max(x, -0.5f0), 0.5f0)
@inline activate(::typeof(NNlib.tanhshrink), x) = x - fasttanh(x)
@inline activate(::typeof(NNlib.trelu), x) = select(x > 1.0f0, x, zero(x))

"tanh(log(1 + eˣ)) and its derivative, as fractions of polynomials of eˣ."
@inline function mish_gate(x)
    e = fastexp(min(x, 20.0f0))                # 1 to the last bit from there on
    n = e * (e + 2.0f0)
    return n / (n + 2.0f0), 4.0f0 * (n - e) / ((n + 2.0f0) * (n + 2.0f0))
end

"""
The distribution function of the normal distribution, erfc(-x/√2)/2. Press et al., Numerical
Recipes, section 6.2.2: erfc(z) = t·exp(-z² + P(t)) for z ≥ 0, with t = 1/(1 + z/2).
"""
@inline function fast_normal_cdf(x)
    z = 0.70710677f0 * abs(x)
    t = 1.0f0 / muladd(0.5f0, z, 1.0f0)
    p = muladd(t, 0.17087277f0, -0.82215223f0)
    p = muladd(t, p, 1.48851587f0)
    p = muladd(t, p, -1.13520398f0)
    p = muladd(t, p, 0.27886807f0)
    p = muladd(t, p, -0.18628806f0)
    p = muladd(t, p, 0.09678418f0)
    p = muladd(t, p, 0.37409196f0)
    p = muladd(t, p, 1.00002368f0)
    tail = 0.5f0 * t * fastexp(muladd(-z, z, muladd(t, p, -1.26551223f0)))
    return select(x < 0.0f0, tail, 1.0f0 - tail)
end

"The derivative of σ, from its input x."
@inline function deriv_from_input(::Gelu, x)
    s = gelu_gate(x)
    return muladd(x * s * (1.0f0 - s), 1.5957692f0 * muladd(0.134145f0, x * x, 1.0f0), s)
end
@inline deriv_from_input(::typeof(gelu_exact), x) =
    muladd(0.3989423f0 * x, fastexp(-0.5f0 * x * x), fast_normal_cdf(x))
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
@inline function deriv_from_input(::typeof(NNlib.hardswish), x)
    return select(x < -3.0f0, zero(x), select(x > 3.0f0, one(x), x / 3.0f0 + 0.5f0))
end
@inline function deriv_from_input(::typeof(NNlib.lisht), x)
    t = fasttanh(x)
    return muladd(x, 1.0f0 - t * t, t)
end
@inline deriv_from_input(::typeof(NNlib.logcosh), x) = fasttanh(x)
@inline function deriv_from_input(::typeof(NNlib.mish), x)
    gate, slope = mish_gate(x)
    return muladd(x, slope, gate)
end
@inline function deriv_from_input(::typeof(NNlib.selu), x)
    return 1.050701f0 * select(x > 0.0f0, one(x), 1.6732632f0 * fastexp(x))
end
@inline function deriv_from_input(::typeof(NNlib.softshrink), x)
    return select(abs(x) > 0.5f0, one(x), zero(x))
end
@inline function deriv_from_input(::typeof(NNlib.tanhshrink), x)
    t = fasttanh(x)
    return t * t
end
@inline deriv_from_input(::typeof(NNlib.trelu), x) = select(x > 1.0f0, one(x), zero(x))

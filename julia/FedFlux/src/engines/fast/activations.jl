# Activations on vectors, and their derivatives from the output where that is enough, else from the input.

"Activations that the engine computes. `slope(σ, y)` is the derivative from the output y; `slope_at(σ, x)` from the input."
const FROM_OUTPUT = Union{typeof(identity),typeof(relu),typeof(tanh),typeof(tanh_fast),typeof(sigmoid),typeof(sigmoid_fast),
                          typeof(leakyrelu),typeof(elu)}
const FROM_INPUT = Union{typeof(gelu),typeof(swish),typeof(softplus),typeof(softsign),typeof(relu6),typeof(hardsigmoid),
                         typeof(hardtanh),typeof(logsigmoid)}

@inline activate(::typeof(identity), x) = x
@inline activate(::typeof(relu), x) = select(x < 0.0f0, 0.0f0, x)
@inline activate(::Union{typeof(tanh),typeof(tanh_fast)}, x) = fasttanh(x)
@inline activate(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, x) = fastsigmoid(x)
@inline activate(::typeof(leakyrelu), x) = select(x > 0.0f0, x, 0.01f0 * x)
@inline activate(::typeof(elu), x) = select(x >= 0.0f0, x, fastexp(x) - 1.0f0)

@inline slope(::typeof(relu), y) = select(y > 0.0f0, one(y), zero(y))
@inline slope(::Union{typeof(tanh),typeof(tanh_fast)}, y) = 1.0f0 - y * y
@inline slope(::Union{typeof(sigmoid),typeof(sigmoid_fast)}, y) = y * (1.0f0 - y)
@inline slope(::typeof(leakyrelu), y) = select(y > 0.0f0, one(y), zero(y) + 0.01f0)
@inline slope(::typeof(elu), y) = select(y >= 0.0f0, one(y), y + 1.0f0)

"`dy` times the derivative."
@inline pull(::typeof(identity), y, dy) = dy
@inline pull(::typeof(relu), y, dy) = select(y > 0.0f0, dy, zero(dy))
@inline pull(σ::F, y, dy) where {F} = slope(σ, y) * dy

# gelu in its tanh form, as NNlib: x·s(2u) with u = √(2/π)·(x + 0.044715x³) and s the logistic function.
@inline gelu_gate(x) = fastsigmoid(1.5957692f0 * x * muladd(0.044715f0, x * x, 1.0f0))

@inline activate(::typeof(gelu), x) = x * gelu_gate(x)
@inline function slope_at(::typeof(gelu), x)
    s = gelu_gate(x)
    return muladd(x * s * (1.0f0 - s), 1.5957692f0 * muladd(0.134145f0, x * x, 1.0f0), s)
end
@inline activate(::typeof(swish), x) = x * fastsigmoid(x)
@inline slope_at(::typeof(swish), x) = (s = fastsigmoid(x); muladd(x * s, 1.0f0 - s, s))
@inline activate(::typeof(softplus), x) = max(x, zero(x)) + fastlog1p(fastexp(-abs(x)))
@inline slope_at(::typeof(softplus), x) = fastsigmoid(x)
@inline activate(::typeof(logsigmoid), x) = -activate(softplus, -x)
@inline slope_at(::typeof(logsigmoid), x) = fastsigmoid(-x)
@inline activate(::typeof(softsign), x) = x / (1.0f0 + abs(x))
@inline slope_at(::typeof(softsign), x) = (d = 1.0f0 + abs(x); 1.0f0 / (d * d))
@inline activate(::typeof(relu6), x) = min(max(x, 0.0f0), 6.0f0)
@inline slope_at(::typeof(relu6), x) = select((x > 0.0f0) & (x < 6.0f0), one(x), zero(x))
@inline activate(::typeof(hardtanh), x) = min(max(x, -1.0f0), 1.0f0)
@inline slope_at(::typeof(hardtanh), x) = select((x > -1.0f0) & (x < 1.0f0), one(x), zero(x))
@inline activate(::typeof(hardsigmoid), x) = min(max((x + 3.0f0) / 6.0f0, 0.0f0), 1.0f0)
@inline slope_at(::typeof(hardsigmoid), x) = select((x > -3.0f0) & (x < 3.0f0), one(x) / 6.0f0, zero(x))

# The server's optimizers: Reddi et al., Adaptive Federated Optimization, arXiv:2003.00295,
# Algorithm 2; and FedAvgM, Hsu et al., arXiv:1909.06335. They take -ū.delta as the
# gradient. Unlike Optimisers' Adam they have no bias correction.

"""
One of Algorithm 2's optimizers: m ← β₁m + (1−β₁)g, v by the optimizer's own rule,
and the step η m/(√v + τ). v starts at τ².
"""
abstract type FedOpt <: Optimisers.AbstractRule end

"""
    FedAdagrad(; lr = 0.01, beta1 = 0, tau = 1e-3)

Adagrad on the server, `v ← v + g²`. Reddi et al., arXiv:2003.00295, Algorithm 2 (their
experiments have β₁ = 0).
"""
Base.@kwdef struct FedAdagrad <: FedOpt
    lr::Float32 = 0.01
    beta1::Float32 = 0.0
    tau::Float32 = 1e-3
end

"""
    FedAdam(; lr = 0.01, beta1 = 0.9, beta2 = 0.99, tau = 1e-3)

Adam on the server, `v ← β₂v + (1−β₂)g²`, without bias correction. Reddi et al.,
arXiv:2003.00295, Algorithm 2.

```julia
Federated(softmax_regression(4, 2); server = FedAdam(lr = 0.03))
```
"""
Base.@kwdef struct FedAdam <: FedOpt
    lr::Float32 = 0.01
    beta1::Float32 = 0.9
    beta2::Float32 = 0.99
    tau::Float32 = 1e-3
end

"""
    FedYogi(; lr = 0.01, beta1 = 0.9, beta2 = 0.99, tau = 1e-3)

Yogi on the server, `v ← v − (1−β₂) g² sign(v − g²)`. Reddi et al.,
arXiv:2003.00295, Algorithm 2.
"""
Base.@kwdef struct FedYogi <: FedOpt
    lr::Float32 = 0.01
    beta1::Float32 = 0.9
    beta2::Float32 = 0.99
    tau::Float32 = 1e-3
end

second_moment!(::FedAdagrad, v, g) = @. v += g^2
second_moment!(o::FedAdam, v, g) = @. v = o.beta2 * v + (1 - o.beta2) * g^2
second_moment!(o::FedYogi, v, g) = @. v -= (1 - o.beta2) * g^2 * sign(v - g^2)

Optimisers.init(o::FedOpt, x::AbstractArray) = (zero(x), fill!(similar(x), o.tau^2))

function Optimisers.apply!(o::FedOpt, state, x::AbstractArray, g)
    m, v = state
    @. m = o.beta1 * m + (1 - o.beta1) * g
    second_moment!(o, v, g)
    return (m, v), @. o.lr * m / (sqrt(v) + o.tau)
end

learning_rate(o::FedOpt) = o.lr
Optimisers.adjust(o::FedOpt, lr::Real) = Optimisers.adjust(o; lr)

construct(::Val{:server}, ::Val{:sgd}; lr) = Optimisers.Descent(Float32(lr))
construct(::Val{:server}, ::Val{:fedavgm}; lr, momentum) =
    Optimisers.Momentum(Float32(lr), Float32(momentum))
# DiLoCo's outer step: Douillard et al., arXiv:2311.08105, Algorithm 1.
construct(::Val{:server}, ::Val{:nesterov}; lr, momentum) =
    Optimisers.Nesterov(Float32(lr), Float32(momentum))

# The clients' optimizers: those of Optimisers.jl, and some that it lacks or whose steps
# allocate there. The equations are PyTorch's: the same settings give the same steps.

# A step is a broadcast that is not computed before it is subtracted from the parameters.
const lazily = Broadcast.broadcasted

"""
    NesterovMomentum(eta, rho)

Gradient descent with Nesterov's momentum, as PyTorch's `SGD(nesterov=True)` has it:

    v ← ρ v + η g,      w ← w − (ρ v + η g).

Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning,
ICML 2013, section 2. Optimisers.jl's `Nesterov` takes the same steps and allocates in each.

```julia
Federated(softmax_regression(4, 2); optimizer = FedFlux.NesterovMomentum(0.1, 0.9))
```
"""
struct NesterovMomentum <: Optimisers.AbstractRule
    eta::Float32
    rho::Float32
end

Optimisers.init(::NesterovMomentum, w::AbstractArray) = zero(w)

function Optimisers.apply!(o::NesterovMomentum, v, w::AbstractArray, g)
    @. v = o.rho * v + o.eta * g
    return v, lazily(+, lazily(*, o.rho, v), lazily(*, o.eta, g))
end

"""
    Adagrad(eta, epsilon)

Steps that shrink with the squared gradients so far, as PyTorch's `Adagrad` has them:

    s ← s + g²,      w ← w − η g/(√s + ϵ).

Duchi et al., Adaptive Subgradient Methods, JMLR 12, 2011, section 1. The sums start at 0,
those of Optimisers.jl's `AdaGrad` at ϵ.

```julia
Federated(softmax_regression(4, 2); optimizer = FedFlux.Adagrad(0.01, 1e-10))
```
"""
struct Adagrad <: Optimisers.AbstractRule
    eta::Float32
    epsilon::Float32
end

Optimisers.init(::Adagrad, w::AbstractArray) = zero(w)

function Optimisers.apply!(o::Adagrad, s, w::AbstractArray, g)
    @. s += abs2(g)
    return s, lazily(scaled_step, o.eta, o.epsilon, s, g)
end

scaled_step(η, ϵ, s, g) = η * g / (sqrt(s) + ϵ)

"""
    RMSProp(eta, rho, epsilon)

Steps that are scaled by a running mean of the squared gradients, as PyTorch's `RMSprop` has
them:

    s ← ρ s + (1 − ρ) g²,      w ← w − η g/(√s + ϵ).

Tieleman & Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012.

```julia
Federated(softmax_regression(4, 2); optimizer = FedFlux.RMSProp(0.01, 0.99, 1e-8))
```
"""
struct RMSProp <: Optimisers.AbstractRule
    eta::Float32
    rho::Float32
    epsilon::Float32
end

Optimisers.init(::RMSProp, w::AbstractArray) = zero(w)

function Optimisers.apply!(o::RMSProp, s, w::AbstractArray, g)
    @. s = o.rho * s + (1 - o.rho) * abs2(g)
    return s, lazily(scaled_step, o.eta, o.epsilon, s, g)
end

"""
    AdamW(adam, lambda)

Adam, and a decay of the parameters that does not enter its moments, as PyTorch's `AdamW`
has it: `w ← w − η (Adam's direction + λ w)`. `adam` is an Optimisers `Adam`, which
has the learning rate.

Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, Algorithm 2.

```julia
using Optimisers: Adam
Federated(softmax_regression(4, 2); optimizer = FedFlux.AdamW(Adam(0.001), 0.01))
```
"""
struct AdamW{A<:Optimisers.Adam} <: Optimisers.AbstractRule
    adam::A
    lambda::Float32
end
AdamW(adam::Optimisers.Adam, lambda::Real) = AdamW(adam, Float32(lambda))

Optimisers.init(o::AdamW, w::AbstractArray) = Optimisers.init(o.adam, w)
Optimisers.adjust(o::AdamW, lr::Real) = AdamW(Optimisers.adjust(o.adam, lr), o.lambda)
learning_rate(o::AdamW) = learning_rate(o.adam)

function Optimisers.apply!(o::AdamW, state, w::AbstractArray, g)
    state, step = Optimisers.apply!(o.adam, state, w, g)
    return state, lazily(+, step, lazily(*, Float32(o.adam.eta) * o.lambda, w))
end

"""
    ClipGradientNorm(c)

Scales a gradient whose L2 norm, over all parameters, exceeds `c` down to that norm. The
first link of a client's optimizer, so it sees what the rules have made of the gradient.
A norm that is NaN stays, and the update is rejected later.

Pascanu et al., arXiv:1211.5063, Algorithm 1.

```julia
using Optimisers: OptimiserChain, Descent
Federated(softmax_regression(4, 2);
    optimizer = OptimiserChain(FedFlux.ClipGradientNorm(1), Descent(0.1)))
```
"""
struct ClipGradientNorm <: Optimisers.AbstractRule
    c::Float64
end

Optimisers.init(::ClipGradientNorm, w::AbstractArray) = nothing

function Optimisers.apply!(o::ClipGradientNorm, state, w::AbstractArray, g)
    norm = sqrt(sum(v -> abs2(Float64(v)), g))
    factor = norm <= o.c ? 1.0f0 : Float32(o.c / norm)
    return state, lazily(*, factor, g)
end

"The optimizer behind a clip of the gradient, and the gradient of λ/2 ‖w‖², if asked."
function with_penalty(optimizer; clip, weight_decay)
    links = (
        (clip === nothing ? () : (ClipGradientNorm(clip),))...,
        (weight_decay == 0 ? () : (Optimisers.WeightDecay(Float32(weight_decay)),))...
    )
    return isempty(links) ? optimizer : Optimisers.OptimiserChain(links..., optimizer)
end

const DEFAULT_RATE = 0.05

construct(::Val{:optimizer}, ::Val{:sgd}; lr = DEFAULT_RATE, momentum, nesterov,
    penalty...) =
    with_penalty(sgd_optimizer(lr, momentum, nesterov); penalty...)

function sgd_optimizer(lr, momentum, nesterov)
    nesterov && momentum == 0 &&
        fail("optimizer sgd: nesterov is true and momentum 0; ",
            "expected a momentum, such as sgd(momentum=0.9, nesterov=true)")
    momentum == 0 && return Optimisers.Descent(Float32(lr))
    return nesterov ? NesterovMomentum(lr, momentum) : Optimisers.Momentum(lr, momentum)
end

# The momentum of this one is an option of its own.
construct(::Val{:optimizer}, ::Val{:momentum}; lr = DEFAULT_RATE, momentum = 0.9) =
    Optimisers.Momentum(lr, momentum)

construct(::Val{:optimizer}, ::Val{:adam}; lr = DEFAULT_RATE, beta1, beta2, epsilon,
    penalty...) =
    with_penalty(Optimisers.Adam(lr, (beta1, beta2), epsilon); penalty...)

construct(::Val{:optimizer}, ::Val{:adamw}; lr = DEFAULT_RATE, weight_decay, beta1, beta2,
    epsilon, clip) =
    with_penalty(AdamW(Optimisers.Adam(lr, (beta1, beta2), epsilon), weight_decay); clip,
        weight_decay = 0)

construct(::Val{:optimizer}, ::Val{:rmsprop}; lr = DEFAULT_RATE, rho, epsilon, penalty...) =
    with_penalty(RMSProp(lr, rho, epsilon); penalty...)

construct(::Val{:optimizer}, ::Val{:adagrad}; lr = DEFAULT_RATE, epsilon, penalty...) =
    with_penalty(Adagrad(lr, epsilon); penalty...)

# APFL: Deng, Kamani, Mahdavi, Adaptive Personalized Federated Learning, arXiv:2003.13461,
# Algorithm 1.

"""
    APFL(; alpha = 0.5, adaptive = false)

A client's personal model is a mixture of a model v of its own and of the global one,
`v̄ = α v + (1 − α) w`. v learns beside w, step by step and on the same batches:

    v ← v − η α ∇Fₖ(v̄).

The global model is trained as without APFL. With `adaptive`, each client also learns its
α, by one step `α ← α − η ⟨∇Fₖ(v̄), v − w⟩` at the beginning of each
round, kept within 0 and 1. v starts as the model that the client received first. Costs two
gradients per step; each client keeps a model. Throws a [`FedFluxError`](@ref) for clients
that don't train with plain SGD.

Deng et al., arXiv:2003.13461, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (APFL(alpha = 0.25),))
```
"""
Base.@kwdef struct APFL <: Rule
    alpha::Float32 = 0.5
    adaptive::Bool = false
end

prepare(r::APFL, layout, training) = (check_sgd("APFL", training); r)

personalises(::APFL) = true

# Copies: a round that fails leaves the client's state as it was.
function receive!(r::APFL, s, m, ctx, own)
    v = s.private === nothing ? m.w : s.private.v
    alpha = s.private === nothing ? r.alpha : only(s.private.alpha)
    return (; v = copy(v), alpha = [alpha], mixed = similar(v), gradient = similar(v))
end

function correct!(r::APFL, s, g, w, ctx)
    (; v, alpha, mixed, gradient) = s.private
    a, lr = alpha[1], ctx.lr
    @. mixed = a * v + (1 - a) * w
    ctx.regrad!(gradient, mixed)
    if r.adaptive && ctx.step == 1
        alpha[1] = clamp(a - lr * (dot(gradient, v) - dot(gradient, w)), 0.0f0, 1.0f0)
    end
    @. v -= lr * a * gradient
    return g
end

client!(::APFL, s, u, ctx) = ((; s.private.v, s.private.alpha), u)

function personal!(::APFL, private, m)
    private === nothing && return m
    a = only(private.alpha)
    @. m.w = a * private.v + (1 - a) * m.w
    return m
end

# EMA: Kingma, Ba, Adam: A Method for Stochastic Optimization, arXiv:1412.6980, section 7.2
# (temporal averaging), over the models of the server.

"""
    EMA(; decay = 0.9)

The exponential moving average of the server's models, without the bias of its start:

    a ← β a + (1 − β) θ,      θ̄ = a/(1 − βʳ),

after round r, with a = 0 before the first and β = `decay`. θ̄ is the model that is
evaluated, returned and kept as the best one; clients train from θ, so that the run itself
is the same as without the rule. Running statistics are those of θ. `decay = 0` changes
nothing. Costs the server one vector, and clients nothing.

Kingma, Ba, arXiv:1412.6980, section 7.2.

```julia
Federated(softmax_regression(4, 2); rules = (EMA(decay = 0.9),))
```
"""
Base.@kwdef struct EMA <: Rule
    decay::Float32 = 0.9
end

# The sum a, and what remains of its start, βʳ.
init(::EMA, θ) = ((; sum = zero(θ), rest = 1.0f0), nothing)

# Behind all other rules: Δ is the step that the server takes.
function publish!(r::EMA, s, Δ, ctx)
    (; sum, rest) = s.shared
    sum = r.decay .* sum .+ (1 - r.decay) .* (ctx.θ .+ decoded(Δ))
    return (; sum, rest = r.decay * rest), Δ
end

returned(::EMA, shared, θ) =
    shared.rest == 1 ? θ : shared.sum ./ (1 - shared.rest)

# Ditto: Li et al., Fair and Robust Federated Learning Through Personalization,
# arXiv:2012.04221, Algorithm 1.

"""
    Ditto(; lam = 0.1)

A personal model v beside the global one. The global model is trained as without Ditto. Each
round a client also trains its own v, for as long as it trains the global model, on
`Fₖ(v) + λ/2 ‖v − θ‖²`. `lam = 0` trains each client alone. Doubles the work of a
round; each client keeps a model.

Li et al., arXiv:2012.04221, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (Ditto(lam = 0.1),))
```
"""
Base.@kwdef struct Ditto <: Rule
    lam::Float32 = 0.1
end

personalises(::Ditto) = true

function receive!(r::Ditto, s, m, ctx, own)
    v = deepcopy(something(s.private, m))       # in the first round: the global model
    return train!((g, w) -> (@. g += r.lam * (w - ctx.θ)), own, v)
end

personal!(::Ditto, private, m) = copy_personal!(m, private)

"Make `m` the personal model that a client keeps, if it has one yet."
function copy_personal!(m, private)
    private === nothing && return m
    copyto!(m.w, private.w)
    copyto!(m.stats, private.stats)
    return m
end

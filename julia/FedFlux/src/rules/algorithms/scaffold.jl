# SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging, arXiv:1910.06378,
# Algorithm 1, option II.

"""
Control variates: each client keeps cₖ, the server their mean c, and each gradient becomes
`g − cₖ + c`. What cₖ is after a round, `variate(r, s, u, ctx)` says.
"""
abstract type ControlVariates <: Rule end

"""
    Scaffold(; momentum = false)

Control variates remove the drift of local steps: each gradient becomes `g − cₖ + c`,
where cₖ estimates the client's own gradient and c, their mean, the global one. After K
steps with learning rate η,

    cₖ⁺ = cₖ − c − (w − θ)/(K η),      c⁺ = c + P · mean(cₖ⁺ − cₖ),

where P is the cohort's share of all weights, n/N for the paper's equal weights, so that c
stays the weighted mean of the cₖ. Sends twice as much as FedAvg in both directions; each
client keeps a vector as long as the model. What a compressor loses of cₖ⁺ − cₖ is
not in cₖ either. Throws a [`FedFluxError`](@ref) for clients that don't train with plain
SGD.

The paper has no momentum. `momentum = true` also takes clients that train with it, and does
what NIID-Bench (arXiv:2102.02079) does: `c − cₖ` moves the model beside the optimizer's
step, `w ← w − η (c − cₖ)`, and does not enter the momentum. cₖ then has the
scale of the momentum's steps, up to 1/(1 − ρ) times a gradient. Without momentum both
are the same.

Karimireddy et al., arXiv:1910.06378, Algorithm 1, option II.

```julia
Federated(softmax_regression(4, 2); rules = (Scaffold(),))
```
"""
Base.@kwdef struct Scaffold <: ControlVariates
    momentum::Bool = false
end

function prepare(r::Scaffold, layout, training)
    r.momentum && training.optimizer isa Optimisers.Momentum ||
        check_sgd("Scaffold", training)
    return r
end

init(::Scaffold, θ) = (zero(θ), zero(θ))

"The mean of all cₖ in the server's state."
mean_variate(::Scaffold, shared) = shared

download_bytes(r::ControlVariates, s, bytes, ctx) =
    bytes + sizeof(mean_variate(r, s.shared))

function correct!(r::ControlVariates, s, g, w, ctx)
    c = mean_variate(r, s.shared)
    return @. g += c - s.private
end

function correct!(r::Scaffold, s, g, w, ctx)
    r.momentum ? (@. w -= ctx.lr * (s.shared - s.private)) :
    (@. g += s.shared - s.private)
    return g
end

variate(::Scaffold, s, u, ctx) =
    @. s.private - s.shared - u.delta / (ctx.steps * ctx.lr)

function client!(r::ControlVariates, s, u, ctx)
    ctx.lr == 0 && return s.private, Update(u; dc = zero(u.delta))     # no step was taken
    c = variate(r, s, u, ctx)
    return c, Update(u; dc = c - s.private)
end

for_client(::ControlVariates, c, client) = c
nobody_sent(::ControlVariates, u) = Update(u; dc = zero(u.delta))

sent(::ControlVariates, s, private, u, ctx) =
    u.dc isa Vector ? private : s.private .+ decoded(u.dc)

server!(::Scaffold, s, ū, ctx) = (s.shared .+ Float32(ctx.share) .* ū.dc, ū)

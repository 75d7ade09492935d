# SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging, arXiv:1910.06378,
# Algorithm 1, option II.

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
Base.@kwdef struct Scaffold <: Rule
    momentum::Bool = false
end

function prepare(r::Scaffold, layout, training)
    r.momentum && training.optimizer isa Optimisers.Momentum ||
        check_sgd("Scaffold", training)
    return r
end

init(::Scaffold, θ) = (zero(θ), zero(θ))

download_bytes(::Scaffold, s, bytes, ctx) = bytes + sizeof(s.shared)

function correct!(r::Scaffold, s, g, w, ctx)
    r.momentum ? (@. w -= ctx.lr * (s.shared - s.private)) :
    (@. g += s.shared - s.private)
    return g
end

function client!(::Scaffold, s, u, ctx)
    ctx.lr == 0 && return s.private, Update(u; dc = zero(u.delta))     # no step was taken
    c = @. s.private - s.shared - u.delta / (ctx.steps * ctx.lr)
    return c, Update(u; dc = c - s.private)
end

for_client(::Scaffold, c, client) = c
nobody_sent(::Scaffold, u) = Update(u; dc = zero(u.delta))

sent(::Scaffold, s, private, u, ctx) =
    u.dc isa Vector ? private : s.private .+ decoded(u.dc)

server!(::Scaffold, s, ū, ctx) = (s.shared .+ Float32(ctx.share) .* ū.dc, ū)

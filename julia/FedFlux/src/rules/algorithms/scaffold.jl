# SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging, arXiv:1910.06378,
# Algorithm 1, option II.

"""
    Scaffold()

Control variates remove the drift of local steps: each gradient becomes `g − cₖ + c`, where
cₖ estimates the client's own gradient and c, their mean, the global one. After K steps with
learning rate η,

    cₖ⁺ = cₖ − c − (w − θ)/(K η),      c⁺ = c + P · mean(cₖ⁺ − cₖ),

where P is the cohort's share of all weights, n/N for the paper's equal weights, so that c
stays the weighted mean of the cₖ. Sends twice as much as FedAvg in both directions; each
client keeps a vector as long as the model. What a compressor loses of cₖ⁺ − cₖ is not in cₖ
either. Throws a [`FedFluxError`](@ref) for clients that don't train with plain SGD.

Karimireddy et al., arXiv:1910.06378, Algorithm 1, option II.

```julia
Federated(softmax_regression(4, 2); rules = (Scaffold(),))
```
"""
struct Scaffold <: Rule end

prepare(r::Scaffold, layout, training) = (check_sgd("Scaffold", training); r)

init(::Scaffold, θ) = (zero(θ), zero(θ))

download_bytes(::Scaffold, s, bytes, ctx) = bytes + sizeof(s.shared)

correct!(::Scaffold, s, g, w, ctx) = @. g += s.shared - s.private

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

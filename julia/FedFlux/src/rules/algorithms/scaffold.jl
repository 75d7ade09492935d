# SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging, arXiv:1910.06378,
# Algorithm 1, option II.

"""
    Scaffold()

Control variates remove the drift of local steps: each gradient becomes `g − cₖ + c`, where
cₖ estimates the client's own gradient and c, their mean, the global one. After K steps with
learning rate η,

    cₖ⁺ = cₖ − c − (w − θ)/(K η),      c⁺ = c + n/N · mean(cₖ⁺ − cₖ).

Uploads twice as much as FedAvg; each client keeps a vector as long as the model. The mean
has the weights of the updates (the paper's are equal). Made for plain SGD on the clients.

Karimireddy et al., arXiv:1910.06378, Algorithm 1, option II.

```julia
Federated(softmax_regression(4, 2); rules = (Scaffold(),))
```
"""
struct Scaffold <: Rule end

construct(::Val{:rule}, ::Val{:scaffold}) = Scaffold()

init(::Scaffold, θ) = (zero(θ), zero(θ))

correct!(::Scaffold, s, g, w, ctx) = @. g += s.shared - s.private

function client!(::Scaffold, s, u, ctx)
    c = @. s.private - s.shared - u.delta / (ctx.steps * ctx.lr)
    return c, Update(u; dc = c - s.private)
end

server!(::Scaffold, s, ū, ctx) = (s.shared .+ Float32(ctx.n / ctx.N) .* ū.dc, ū)

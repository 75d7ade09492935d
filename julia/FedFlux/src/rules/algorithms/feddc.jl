# FedDC: Gao et al., FedDC: Federated Learning with Non-IID Data via Local Drift Decoupling
# and Correction, arXiv:2203.11751, Algorithm 1.

"""
    FedDC(; alpha = 0.1)

Each client keeps its drift hₖ, how far its models went from the global ones, and the
server's model is the mean of the clients' models with their drifts added:

    gₖ ← gₖ + α (hₖ + w − θ) + (dₖ − d)/(K η),
    hₖ ← hₖ + Δₖ,      θ ← mean(wₖ) + h,

where dₖ is the client's last Δₖ after K steps with learning rate η, and h and d are
the means of the hₖ and of the dₖ over all clients, by their weights. Sends twice as
much as FedAvg in both directions; each client keeps two vectors as long as the model. What
a compressor loses is not in them. Throws a [`FedFluxError`](@ref) for clients that don't
train with plain SGD.

Gao et al., arXiv:2203.11751, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedDC(alpha = 0.1),))
```
"""
Base.@kwdef struct FedDC <: Rule
    alpha::Float32 = 0.1
end

prepare(r::FedDC, layout, training) = (check_sgd("FedDC", training); r)

# Of the drifts and of dₖ/(Kη), which is a gradient.
init(::FedDC, θ) = ((; h = zero(θ), d = zero(θ)), (; h = zero(θ), d = zero(θ)))

for_client(::FedDC, shared, client) = (; shared.d)

download_bytes(::FedDC, s, bytes, ctx) = bytes + sizeof(s.shared.d)

function correct!(r::FedDC, s, g, w, ctx)
    (; h, d) = s.private
    mean_d = s.shared.d
    @. g += r.alpha * (h + w - ctx.θ) + d - mean_d
end

function client!(::FedDC, s, u, ctx)
    ctx.lr == 0 && return s.private, Update(u; dd = zero(u.delta))     # no step was taken
    return s.private, Update(u; dd = u.delta ./ (ctx.steps * ctx.lr) .- s.private.d)
end

nobody_sent(::FedDC, u) = Update(u; dd = zero(u.delta))

# What clients keep follows what is sent, as the server's means do.
sent(::FedDC, s, private, u, ctx) =
    (; h = s.private.h .+ decoded(u.delta), d = s.private.d .+ decoded(u.dd))

function server!(::FedDC, s, ū, ctx)
    share = Float32(ctx.share)
    h = s.shared.h .+ share .* ū.delta
    return (; h, d = s.shared.d .+ share .* ū.dd), Update(ū; delta = ū.delta .+ h)
end

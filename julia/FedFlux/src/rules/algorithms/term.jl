# TERM: Li, Beirami, Sanjabi, Smith, Tilted Empirical Risk Minimization, arXiv:2007.01162,
# equation 2 and Algorithm 1, with clients as the groups.

"""
    TERM(; t = 1)

Tilted losses: minimizes `1/t · log Σ pₖ exp(t Fₖ(w))`. With `t > 0` clients with a
higher loss count more, up to the worst one alone; with `t < 0` they count less, which is
robust against clients whose data make no sense; `t = 0` is FedAvg. With Fₖ the client's
loss at θ,

    θ ← θ + Σ pₖ exp(t Fₖ) Δₖ / Σ pₖ exp(t Fₖ).

Costs one more pass over the data per round.

Li et al., arXiv:2007.01162, equation 2 with clients as the groups.

```julia
Federated(softmax_regression(4, 2); rules = (TERM(t = 2),))
```
"""
Base.@kwdef struct TERM <: Rule
    t::Float32 = 1
end

# The logarithm of the last round's mean tilt. Clients divide by it, so that no tilt
# overflows; it cancels in the quotient.
init(::TERM, θ) = (0.0f0, nothing)
for_client(::TERM, level, client) = level
download_bytes(::TERM, s, bytes, ctx) = bytes + sizeof(s.shared)

receive!(r::TERM, s, m, ctx, own) =
    clamp(Float32(r.t * meanloss(own, m) - s.shared), -60.0f0, 60.0f0)

function client!(::TERM, s, u, ctx)
    tilt = exp(s.private)
    return nothing, Update(u; delta = tilt .* u.delta, metrics = (; tilt = [tilt]))
end

nobody_sent(::TERM, u) = Update(u; metrics = (; tilt = [0.0f0]))

function server!(::TERM, s, ū, ctx)
    tilt = only(ū.metrics.tilt)
    return s.shared + log(tilt), Update(ū; delta = ū.delta ./ tilt)
end

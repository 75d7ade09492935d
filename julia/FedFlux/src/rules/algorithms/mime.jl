# Mime: Karimireddy et al., Mime: Mimicking Centralized Stochastic Algorithms in Federated
# Learning, arXiv:2008.03606, Algorithm 1.

"""
    Mime(; beta = 0.9)

The server's momentum in every step of the clients, as in [`MimeLite`](@ref), and a
correction of each gradient by the cohort's mean full gradient at θ, c = ḡ(θ):

    g ← gₖ(w) − gₖ(θ) + c,      w ← w − η ((1 − β) g + β m),      m ← (1 − β) c + β m,

with gₖ(w) and gₖ(θ) on the same batch. Clients must know c before they train. So a round of
the paper takes two rounds here: in odd ones clients send their full gradients and the model
stays, in even ones they train. If only some of the clients take part in a round, those that
train aren't those that c is the mean of. Run twice as many rounds as with other methods.

Costs two gradients per step, and one more pass over the data. Throws a
[`FedFluxError`](@ref) for clients that don't train with plain SGD, and for a server
optimizer, which would step in odd rounds too.

Karimireddy et al., arXiv:2008.03606, Algorithm 1 with momentum.

```julia
Federated(softmax_regression(4, 2); rules = (Mime(beta = 0.9),))
```
"""
Base.@kwdef struct Mime <: ServerDirection
    beta::Float32 = 0.9
end

# `c` is empty while nobody knows it, before odd rounds.
init(::Mime, θ) = ((; m = zero(θ), c = Float32[]), nothing)

gathers(shared) = isempty(shared.c)

# No client needs the momentum in a round in which it doesn't train.
for_client(::Mime, shared, client) = gathers(shared) ? (; m = Float32[], shared.c) : shared

download_bytes(::Mime, s, bytes, ctx) =
    bytes + (gathers(s.shared) ? 0 : sizeof(s.shared.m) + sizeof(s.shared.c))

# A single step, along nothing, which tells a loss all the same.
local_steps(::Mime, s, steps, ctx) = gathers(s.shared) ? 1 : steps

# The full gradient, or memory for that of a batch at θ.
receive!(::Mime, s, m, ctx, own) =
    gathers(s.shared) ? full_gradient!(similar(m.w), own, m) : similar(m.w)

function correct!(r::Mime, s, g, w, ctx)
    gathers(s.shared) && return fill!(g, 0)
    (; m, c) = s.shared
    ctx.regrad!(s.private, ctx.θ)
    return @. g = (1 - r.beta) * (g - s.private + c) + r.beta * m
end

function client!(::Mime, s, u, ctx)
    gathers(s.shared) || return nothing, u
    fill!(u.stats, 0)
    return nothing, Update(u; delta = s.private)
end

function server!(r::Mime, s, ū, ctx)
    (; m, c) = s.shared
    gathers(s.shared) && return (; m, c = ū.delta), Update(ū; delta = zero(ū.delta))
    return (; m = (1 - r.beta) .* c .+ r.beta .* m, c = Float32[]), ū
end

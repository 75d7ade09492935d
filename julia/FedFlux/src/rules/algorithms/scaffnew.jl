# Scaffnew: Mishchenko, Malinovsky, Stich, Richtárik, ProxSkip: Yes! Local Gradient Steps
# Provably Lead to Communication Acceleration! Finally!, arXiv:2202.09357, Algorithm 2.

"""
    Scaffnew(; p = 0.1)

ProxSkip for federated learning: after each local step all clients communicate with the
chance p, and control variates remove the drift in between. Each gradient becomes
`g − hₖ`, and after the steps of a round, with learning rate η,

    hₖ⁺ = hₖ + (p/η)(θ⁺ − wₖ),      θ⁺ = mean(wₖ).

The number of steps of a round, 1/p in the mean, is the same for all clients. The server
draws it and sends it with the model. In the first round it is 1/p. It is at most that of
the local training, so set `local_steps` well above 1/p.

The paper has all clients in each round. So that a part of them can take part, hₖ is kept as
the difference of cₖ and the mean c of all cₖ, as [`Scaffold`](@ref) keeps them:
`cₖ⁺ = cₖ − c − (p/η) Δₖ`. With all clients these are the paper's numbers. Sends twice as
much as FedAvg in both directions; each client keeps a vector as long as the model. Throws a
[`FedFluxError`](@ref) for clients that don't train with plain SGD.

Mishchenko et al., arXiv:2202.09357, Algorithm 2.

```julia
Federated(softmax_regression(4, 2); rules = (Scaffnew(p = 0.2),))
```
"""
Base.@kwdef struct Scaffnew <: ControlVariates
    p::Float64 = 0.1
end

prepare(r::Scaffnew, layout, training) = (check_sgd("Scaffnew", training); r)

init(r::Scaffnew, θ) = ((; c = zero(θ), steps = round(Int, 1 / r.p)), zero(θ))

mean_variate(::Scaffnew, shared) = shared.c

local_steps(::Scaffnew, s, steps, ctx) = min(steps, s.shared.steps)

variate(r::Scaffnew, s, u, ctx) =
    @. s.private - s.shared.c - Float32(r.p / ctx.lr) * u.delta

function server!(r::Scaffnew, s, ū, ctx)
    c = s.shared.c .+ Float32(ctx.share) .* ū.dc
    return (; c, steps = steps_until(ctx.rng, r.p)), ū
end

"The number of tries until something of the chance `p` happens."
steps_until(rng, p) =
    p == 1 ? 1 : 1 + floor(Int, log(1 - rand(rng, Float64)) / log(1 - p))

# Local differential privacy: a client trusts nobody with its update, and adds the noise
# itself. The mechanism is Gaussian (Dwork and Roth 2014, Theorem A.1).

"""
    LocalDP(; clip = 1.0, noise_multiplier = 10.0, delta = 1e-5, reproducible = false)

Local differential privacy: a client clips all that it sends to the norm C (`clip`) and adds
N(0, (zC)² I) itself (z: `noise_multiplier`), so the server and everybody else meet noise
only. The history tells ε for `delta` after each round, for a client that took part in all
of them: neighbors differ in a client's data, which moves its update by up to 2C, and no
sampling makes it smaller. It takes far more noise than [`ClientDP`](@ref) for the same ε.

`reproducible`: noise from the run's seed, for experiments only. Any weights and aggregators
do; rules that report figures beside the update are refused.

Dwork and Roth 2014, Appendix A.

```julia
Federated(softmax_regression(4, 2); rules = (LocalDP(noise_multiplier = 5.0),))
```
"""
Base.@kwdef struct LocalDP <: Rule
    clip::Float64 = 1.0
    noise_multiplier::Float64 = 10.0
    delta::Float64 = 1e-5
    reproducible::Bool = false
end

function prepare(r::LocalDP, layout, training)
    check_mechanism("LocalDP", r.clip, r.noise_multiplier, r.delta)
    return r
end

# All values get noise, the hidden ones too.
kept(::LocalDP, shared, name, known) = nothing

function client!(r::LocalDP, s, u, ctx)
    rng = noise_source(r, ctx)
    noisy(v) =
        AlteredVector(add_gaussian!(Vector{Float32}(v), r.noise_multiplier * r.clip, rng))
    return nothing, map(noisy, clip_update(u, r.clip))
end

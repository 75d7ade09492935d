# DP-SGD: Abadi et al., Deep Learning with Differential Privacy, arXiv:1607.00133,
# Algorithm 1, as the local training of each client.

"""
    DPSGD(; clip = 1.0, noise_multiplier = 1.0, delta = 1e-5, reproducible = false)

Example-level differential privacy: each local step is

    g = (Σᵢ gᵢ·min(1, C/‖gᵢ‖) + N(0, (σC)²I)) / B,

where `gᵢ` is the gradient of one example's own loss, over all parameters; C is `clip`, σ is
`noise_multiplier`, and B is `batchsize` (the number of the client's examples if that is
smaller). An example enters a step with probability q = B/nₖ, independently of the others,
so batches differ in size, and one without examples is a step of noise. A client takes as
many steps as without the rule. Other rules correct the gradient after the noise. The
history tells ε after each round for δ, `delta`, and the examples of the client that it is
highest for, as if that client were in each round.

The noise and the batches come from a [`SecureRandom`](@ref), so that no two runs are the
same; with `reproducible = true` from the run's seed, for experiments only: who knows the
seed can subtract the noise, and ε is that without amplification by sampling.

Throws a [`FedFluxError`](@ref) for a model with BatchNorm, for the augmentation mixup, and
for rules that use the examples in another way.

Abadi et al., arXiv:1607.00133, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (DPSGD(clip = 0.5, noise_multiplier = 1.1),))
```
"""
Base.@kwdef struct DPSGD <: Rule
    clip::Float64 = 1.0
    noise_multiplier::Float64 = 1.0
    delta::Float64 = 1e-5
    reproducible::Bool = false
end

function prepare(r::DPSGD, layout, training)
    0 < r.clip < Inf || fail("rule DPSGD: clip is ", r.clip, "; expected a positive number")
    0 <= r.noise_multiplier < Inf || fail("rule DPSGD: noise_multiplier is ",
        r.noise_multiplier, "; expected a number from 0 on")
    0 < r.delta < 1 ||
        fail("rule DPSGD: delta is ", r.delta, "; expected a number between 0 and 1")
    return r
end

"The rule of a chain by which local steps are private for each example, or `nothing`."
example_privacy(::Tuple{}) = nothing
example_privacy(rules::Tuple) = example_privacy(Base.tail(rules))
example_privacy(rules::Tuple{DPSGD,Vararg}) = first(rules)

# Learning rates over the rounds. A schedule is a factor that depends on the round alone, so
# a resumed run goes on with the same.

"""
    Schedule

A factor of the learning rate: called with the round (from 1), returns a number. Several
multiply.
"""
abstract type Schedule end

"""
    StepDecay(; every, factor = 0.1)

`factor^⌊(round − 1)/every⌋`: the learning rate falls by `factor` after each `every` rounds.
"""
Base.@kwdef struct StepDecay <: Schedule
    every::Int
    factor::Float64 = 0.1
end
(s::StepDecay)(round) = s.factor^((round - 1) ÷ s.every)

"""
    ExponentialDecay(; factor = 0.99)

`factor^(round − 1)`.
"""
Base.@kwdef struct ExponentialDecay <: Schedule
    factor::Float64 = 0.99
end
(s::ExponentialDecay)(round) = s.factor^(round - 1)

"""
    CosineDecay(; rounds, final = 0)

Half a cosine from 1 in the first round down to `final` in round `rounds`, and `final` after
that; Loshchilov & Hutter, arXiv:1608.03983, equation 5, without restarts.
"""
Base.@kwdef struct CosineDecay <: Schedule
    rounds::Int
    final::Float64 = 0.0
end
function (s::CosineDecay)(round)
    done = min((round - 1) / max(s.rounds - 1, 1), 1.0)
    return s.final + (1 - s.final) * (1 + cospi(done)) / 2
end

"""
    Warmup(; rounds)

`round/rounds` in the first `rounds` rounds, then 1.
"""
Base.@kwdef struct Warmup <: Schedule
    rounds::Int
end
(s::Warmup)(round) = min(round / s.rounds, 1.0)

"""
    scheduled(optimizer, schedule, round)

The Optimisers rule with its learning rate multiplied by each factor of `schedule`, a tuple
of functions of the round.

```julia
FedFlux.scheduled(Descent(0.1), (FedFlux.Warmup(rounds = 4),), 2)   # Descent(0.05)
```
"""
scheduled(optimizer, schedule::Tuple{}, round) = optimizer
function scheduled(optimizer, schedule::Tuple, round)
    lr = learning_rate(optimizer)
    lr === nothing && fail("schedule: the optimizer ", nameof(typeof(optimizer)),
        " has no single learning rate that could change; expected one such as Descent")
    return Optimisers.adjust(optimizer, Float32(lr * prod(s -> s(round), schedule)))
end

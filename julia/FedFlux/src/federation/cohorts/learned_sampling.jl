# Samplings that learn from the rounds: who has a high loss takes part more often.

"What a sampling learns of a client whose update counted."
const Observed = @NamedTuple{client::Int, loss::Float64, samples::Int}

"""
    LearnedSampling

A [`Sampling`](@ref) that keeps something of what clients reported:

- `observe!(s, kept, observed, round) -> kept`: after each round; `observed` is a list of
  `(; client, loss, samples)`, the mean loss of each client whose update counted, over the
  samples that it saw in training. `kept` is `nothing` before the first, and is not changed
  in place. It is in the [`State`](@ref), and so in checkpoints: plain data only.
- `draw(s, kept, available, clients, n, round, rng)`: as `draw` of other samplings.

A guarantee of privacy, a secure sum or encryption does not go with it: the losses would
tell, and decide, what nobody may know.
"""
abstract type LearnedSampling <: Sampling end

observe!(::Union{Nothing,Sampling}, kept, observed, round) = kept
draw(s::Sampling, kept, available, clients, n, round, rng) =
    draw(s, available, clients, n, round, rng)
draw(s::LearnedSampling, available, clients, n, round, rng) =
    draw(s, nothing, available, clients, n, round, rng)

"Throw if a sampling would see losses that a federation hides or protects."
check_losses_known(::Sampling, what) = nothing
check_losses_known(s::LearnedSampling, what) =
    what === nothing ||
    fail("sampling ", nameof(typeof(s)), " chooses clients by their losses, and does not ",
        "go with ", what, ": use uniform, poisson or round_robin")

"""
    PowerOfChoice(candidates = nothing)

Draws `candidates` clients in proportion to their numbers of samples (by default twice as
many as are wanted), and keeps those with the highest losses: each client's mean loss when
it last trained, which costs nothing more (π_rpow-d). Who never trained comes first.
Cho, Wang, Joshi, arXiv:2010.01243, Algorithm 1 with the losses of section 5.

```julia
clients = Clients(zeros(Float32, 1, 3), zeros(3), [[1], [2], [3]])
known = Dict(1 => 0.1, 2 => 2.0, 3 => 0.5)
rng = Stream(0, :cohort, 1)
FedFlux.draw(FedFlux.PowerOfChoice(3), known, 1:3, clients, 1, 1, rng)   # [2]
```
"""
struct PowerOfChoice <: LearnedSampling
    candidates::Union{Nothing,Int}
end
PowerOfChoice(; candidates = nothing) = PowerOfChoice(candidates)

observe!(::PowerOfChoice, kept, observed, round) =
    merge(something(kept, Dict{Int,Float64}()), Dict(o.client => o.loss for o in observed))

function draw(s::PowerOfChoice, kept, available, clients, n, round, rng)
    d = max(n, something(s.candidates, 2n))
    drawn = draw(WeightedSampling(), available, clients, d, round, rng)
    known(k) = kept === nothing ? Inf : get(kept, k, Inf)
    return partialsort(drawn, 1:min(n, length(drawn)); by = known, rev = true)
end

"""
    Oort(explore = 0.9, decay = 0.98, least = 0.2, cutoff = 0.95)

Most of a cohort are clients of high utility, the others ones that never trained. The
utility of client k is its number of samples times its mean loss when it last trained, at
most the 95th percentile of all, plus `√(0.1 log r / Lₖ)` of the highest for one that
last trained in round Lₖ. Those whose utility is at least `cutoff` of that of the last one
needed are drawn in proportion to it. The share of new clients is `explore` at first, and is
multiplied by `decay` each round down to `least`.

The root mean square of the losses, which the paper has, is the mean here, since clients
report no more. The paper's factor for slow clients is left out: no simulated or real client
tells its speed. Lai et al., arXiv:2010.06081, Algorithm 1.
"""
Base.@kwdef struct Oort <: LearnedSampling
    explore::Float64 = 0.9
    decay::Float64 = 0.98
    least::Float64 = 0.2
    cutoff::Float64 = 0.95
end

function observe!(::Oort, kept, observed, round)
    seen = Dict(o.client => (; o.loss, round) for o in observed)
    return merge(something(kept, Dict{Int,@NamedTuple{loss::Float64,round::Int}}()), seen)
end

function draw(s::Oort, kept, available, clients, n, round, rng)
    known = kept === nothing ? Int[] : filter(k -> haskey(kept, k), available)
    new = setdiff(available, known)
    share = max(s.least, s.explore * s.decay^(round - 1))
    explored = min(length(new), max(round_half_up(share * n), n - length(known)))
    exploited = min(length(known), n - explored)
    chosen =
        exploited == 0 ? Int[] : exploit(s, kept, known, clients, exploited, round, rng)
    return [chosen; draw(UniformSampling(), new, clients, explored, round, rng)]
end

round_half_up(x) = floor(Int, x + 0.5)

"Clients among the known ones, by utility."
function exploit(s::Oort, kept, known, clients, n, round, rng)
    gain = [nsamples(clients, k) * max(kept[k].loss, 0.0) for k in known]
    gain = min.(gain, quantile(gain, 0.95))
    top = max(maximum(gain), 1e-12)
    utility = [g / top + sqrt(0.1 * log(round) / kept[k].round)
     for (g, k) in zip(gain, known)]
    bar = s.cutoff * partialsort(utility, n; rev = true)
    # One after another in proportion to utility, as WeightedSampling draws.
    keys = [u >= bar ? log(1 - rand(rng, Float64)) / max(u, 1e-12) : -Inf for u in utility]
    return known[partialsortperm(keys, 1:n; rev = true)]
end

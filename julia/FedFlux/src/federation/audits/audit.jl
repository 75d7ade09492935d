# The audit: an attack on a private rule as a federation runs it, and the ε that its
# success rules out, beside the accountant's.

"""
    audit(rule; clients = 20, clients_per_round = clients, sampling = PoissonSampling(),
          rounds = 10, trials = 1000, confidence = 0.95, seed = 0) -> Audit

Attack a private rule, and compare the ε that the attack proves with the accountant's. In
each trial client 1, the canary, sends an enormous update along a random direction, with a
sign known to the attacker, and the others send zeros: what tells most about one client.
Rounds run as in a federation, with the rule's own clip and noise. The attacker sums the
steps along that direction and guesses whether the canary took part (or, if the guarantee
is about a client's data, whether it sent the opposite). Two more attackers do the same: one
knows the run's seed, and looks only at the rounds in which the canary is drawn by it; the
other has two hostile clients beside the canary, one far beyond the clip.

- `clients`, `clients_per_round`, `sampling`, `rounds`: what is promised and attacked. For
  [`LocalDP`](@ref) the attacker sees the canary's updates alone.
- `trials`: how often the rounds run with the canary, and how often without it.
- `confidence`: of all lower bounds together; a right rule is said to be broken with a
  probability of at most 1 − `confidence` by the attacks, and as much by the check of an
  adaptive clip.
- `seed`: of the trials. Only a rule with `reproducible = true` gives the same figures
  again.

The first half of the trials chooses thresholds, the second counts errors; their upper
limits ([`binomial_upper`](@ref)) give a lower bound for ε at every δ
([`epsilon_lower`](@ref)). What is promised is a curve: the accountant's ε at the rule's
own δ and at some that are larger, and the rule is broken if one of them is exceeded. Lower
bounds end at log(trials/2) − 1.5 or so, whatever the rule does.

An adaptive clip is checked apart from ε: it must fall when all updates are shorter, and
rise when all are longer.

Throws a [`FedFluxError`](@ref) for a rule that promises nothing, or settings under which
its guarantee would not hold.

Canaries for federated learning: Andrew et al., arXiv:2302.03098; lower bounds for ε from
attacks: Jagielski et al., arXiv:2006.07709; Nasr et al., arXiv:2302.07956.

```julia
audit(ClientDP(noise_multiplier = 2.0); clients = 10, rounds = 2, trials = 100)
```
"""
function audit(rule::Rule; clients = 20, clients_per_round = clients,
    sampling = PoissonSampling(), rounds = 10, trials = 1000, confidence = 0.95, seed = 0)
    check_audit(clients, clients_per_round, rounds, trials, confidence, seed)
    begun = clock()
    t = AuditTarget(rule, clients, clients_per_round, sampling, rounds, UInt64(seed))
    deltas = audited_deltas(t.guarantee)
    upper = [guaranteed_epsilon(t.guarantee, rounds, δ) for δ in deltas]
    statistics = attack_statistics(t, trials)
    each = 1 - (1 - confidence) / length(statistics)    # of one bound, so of all at once
    attacks = [
        Attacked(name, deltas, proven_epsilons(with, without, deltas, upper, each), upper)
        for (name, with, without) in statistics
    ]
    worst = argmax(a -> a.decided.lower - a.decided.upper, attacks)
    return Audit(; lower = maximum(a -> a.lower, attacks),
        upper = epsilon_after(t.guarantee, rounds), promise = t.guarantee, worst.decided,
        attacks, findings = clip_findings(t, confidence), rounds, trials, confidence,
        seconds = clock() - begun)
end

"""
What one attack found: its `name`; `lower`, the ε that it proves at the guarantee's δ;
and `decided`, as in [`Audit`](@ref).
"""
struct Attacked
    name::String
    lower::Float64
    decided::@NamedTuple{delta::Float64, lower::Float64, upper::Float64}
end

function Attacked(name, deltas, lower, upper)
    worst = argmax(lower .- upper)
    return Attacked(name, first(lower),
        (; delta = deltas[worst], lower = lower[worst], upper = upper[worst]))
end

function check_audit(clients, clients_per_round, rounds, trials, confidence, seed)
    check_clients_per_round(clients_per_round, clients)
    rounds >= 1 || fail("rounds is ", rounds, "; expected 1 or more")
    20 <= trials <= MOST_TRIALS ||
        fail("trials is ", trials, "; expected a number from 20 to ", MOST_TRIALS)
    check_confidence(confidence)
    seed >= 0 || fail("seed is ", seed, "; expected 0 or more")
end

const MOST_TRIALS = 10_000_000

"""
    Audit

What [`audit`](@ref) found. `lower`: the ε that the attacks prove at the δ of `promise`;
`upper`: the accountant's. `decided`: the `(; delta, lower, upper)` where the lower bound is
highest beside the promised curve. `attacks`: the same for each attack. `findings`: what
else is wrong, in words. `trials`, `rounds`, `confidence`, `seconds`. [`isbroken`](@ref) is
the verdict.
"""
Base.@kwdef struct Audit
    lower::Float64
    upper::Float64
    promise::Guarantee
    decided::@NamedTuple{delta::Float64, lower::Float64, upper::Float64}
    attacks::Vector{Attacked}
    findings::Vector{String}
    rounds::Int
    trials::Int
    confidence::Float64
    seconds::Float64
end

"""
    isbroken(a::Audit) -> Bool

Whether the rule did what its guarantee excludes. `false` proves nothing: another attack, or
more trials, may show more.
"""
isbroken(a::Audit) = a.decided.lower > a.decided.upper || !isempty(a.findings)

function Base.show(io::IO, a::Audit)
    number(x) = round(x; sigdigits = 4)
    print(io, "Audit(", isbroken(a) ? "broken" : "consistent", ": ε ≥ ", number(a.lower),
        " by the attack, ≤ ", number(a.upper), " promised, at δ = ", a.promise.delta)
    d = a.decided
    d.delta == a.promise.delta || print(io, "; ≥ ", number(d.lower), " and ≤ ",
        number(d.upper), " at δ = ", d.delta)
    foreach(finding -> print(io, "; ", finding), a.findings)
    print(io, ")")
end

"""
The δ at which the guarantee is compared with the attack: its own first, and larger ones,
for which few trials show more.
"""
audited_deltas(p::Guarantee) = [p.delta; filter(>(p.delta), [1e-4, 1e-3, 0.01, 0.1, 0.3])]

"The accountant's smallest ε of a guarantee at any δ."
function guaranteed_epsilon(p::Guarantee, rounds, delta)
    fixed = p.accounting.sampling === :fixed
    accountant = fixed ? RDPAccountant(; delta) : PLDAccountant(; delta)
    compose_rounds!(accountant, p.accounting, rounds)
    return epsilon(accountant)
end

"""
The lower bounds of ε at these `deltas`, which all hold at once with this confidence. The
first half of the statistics chooses two thresholds: one for the first δ, one for where the
bound comes closest to `upper` or exceeds it most. The second half counts their errors.
"""
function proven_epsilons(with, without, deltas, upper, confidence)
    half = length(with) ÷ 2
    each = 1 - (1 - confidence) / 4                  # two thresholds, two rates
    bounds(threshold, range) = begin
        n = length(range)
        fpr = binomial_upper(count(>(threshold), view(without, range)), n, each)
        fnr = binomial_upper(count(<=(threshold), view(with, range)), n, each)
        [epsilon_lower(fpr, fnr, δ) for δ in deltas]
    end
    first_half, second_half = 1:half, (half+1):length(with)
    seen = [view(with, first_half); view(without, first_half)]
    candidates = quantile(seen, range(0.0, 1.0; length = 401))
    chosen(score) = argmax(c -> score(bounds(c, first_half)), candidates)
    thresholds = (chosen(first), chosen(b -> maximum(b .- upper)))
    return max.((bounds(c, second_half) for c in thresholds)...)
end

const CLIP_TRIALS = 50

"""
What is wrong with a clip that adapts: on average over trials, its logarithm must fall when
every update is zero, and rise when every one is very long. Said of a mean that is on the
wrong side with this confidence, by the normal distribution.
"""
function clip_findings(t::AuditTarget, confidence)
    findings = String[]
    z = sqrt(2) * erfcinv(1 - confidence)      # two-sided: half of it for each direction
    for (length, toward, word) in ((0, -1, "fall"), (CANARY_LENGTH, 1, "rise"))
        moves = [clip_move(t, i, length) for i = 1:CLIP_TRIALS]
        all(iszero, moves) && continue
        m = mean(moves)
        margin = z * sqrt(sum(x -> abs2(x - m), moves) / (CLIP_TRIALS - 1) / CLIP_TRIALS)
        toward * m + margin < 0 || continue
        push!(
            findings,
            string("the adaptive clip should ", word, " when all updates have ",
                "the norm ", Int(length), ", and in ", t.rounds, " rounds it became ",
                round(exp(m); sigdigits = 3), " times as large")
        )
    end
    return findings
end

"The logarithm of the clip after all rounds over that before, all updates of this length."
function clip_move(t::AuditTarget, i, length)
    f = trial_federation(t, i, 2 + (length > 0), length, length)
    first_clip = public_clip(State(f, t.pool))
    first_clip === nothing && return 0.0
    return log(public_clip(each_round(Returns(nothing), t, f, t.with)) / first_clip)
end

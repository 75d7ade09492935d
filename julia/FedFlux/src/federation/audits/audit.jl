# The audit: an attack on a private rule as a federation runs it, and the ε that its success
# rules out, beside the accountant's.

"""
    audit(rule; clients = 20, clients_per_round = clients, sampling = PoissonSampling(),
          rounds = 10, trials = 1000, confidence = 0.95, seed = 0) -> Audit

Attack a private rule, and compare the ε that the attack proves with the accountant's. In
each trial client 1, the canary, sends an enormous update along a random direction, with a
sign known to the attacker, and the others send zeros: what tells most about one client.
Rounds run as in a federation, with the rule's own clip and noise. The attacker sums the
steps along that direction and guesses whether the canary took part (or, where the guarantee
is about a client's data, whether it sent the opposite).

- `clients`, `clients_per_round`, `sampling`, `rounds`: what is promised and attacked. For
  [`LocalDP`](@ref) the attacker sees the canary's updates alone.
- `trials`: how often the rounds run with the canary, and how often without it.
- `confidence`: of the lower bound; a right rule is said to be broken with a probability of
  at most 1 − `confidence` by the attack, and as much by the check of an adaptive clip.
- `seed`: of the trials. Only a rule with `reproducible = true` gives the same figures
  again.

The first half of the trials chooses thresholds, the second counts errors; their upper
limits ([`binomial_upper`](@ref)) give a lower bound for ε at every δ
([`epsilon_lower`](@ref)). What is promised is a curve: the accountant's ε at the rule's own
δ and at some that are larger, and the rule is broken where one of them is exceeded. Lower
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
    begun = time()
    t = AuditTarget(rule, clients, clients_per_round, sampling, rounds, UInt64(seed))
    with = [attack_statistic(t, i, true) for i = 1:trials]
    without = [attack_statistic(t, i, false) for i = 1:trials]
    deltas = audited_deltas(t.guarantee)
    upper = [guaranteed_epsilon(t.guarantee, rounds, δ) for δ in deltas]
    lower = proven_epsilons(with, without, deltas, upper, confidence)
    worst = argmax(lower .- upper)
    return Audit(; lower = first(lower), upper = epsilon_after(t.guarantee, rounds),
        promise = t.guarantee,
        decided = (; delta = deltas[worst], lower = lower[worst], upper = upper[worst]),
        findings = clip_findings(t, confidence), rounds, trials, confidence,
        seconds = time() - begun)
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

What [`audit`](@ref) found. `lower`: the ε that the attack proves at the δ of `promise`;
`upper`: the accountant's. `decided`: the `(; delta, lower, upper)` where the lower bound is
highest beside the promised curve. `findings`: what else is wrong, in words. `trials`,
`rounds`, `confidence`, `seconds`. [`isbroken`](@ref) is the verdict.
"""
Base.@kwdef struct Audit
    lower::Float64
    upper::Float64
    promise::Guarantee
    decided::@NamedTuple{delta::Float64, lower::Float64, upper::Float64}
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

const CANARY = 1

# Sends `canary` times the direction from client 1, with the sign of the round, and `others`
# times it from all others.
struct Canary <: Rule
    direction::Vector{Float32}
    canary::Float32
    others::Float32
end

function client!(r::Canary, s, u, ctx)
    own = ctx.client == CANARY
    factor = own ? attack_sign(ctx.round) * r.canary : r.others
    return nothing, Update(u; delta = factor .* r.direction)
end

# The Thue–Morse sequence + − − + − + + −. Noise that comes again with period 1 or 2 is then
# subtracted from itself, and independent noise is not.
attack_sign(round) = iseven(count_ones(round - 1)) ? 1.0f0 : -1.0f0

"What is attacked: the rule in a federation, with and without the canary."
struct AuditTarget{F<:Federated,C<:Clients,S,A,P<:WorkerPool}
    f::F
    clients::C
    with::S            # how cohorts are drawn
    without::A         # … where the canary does not take part
    guarantee::Guarantee
    pool::P
    rounds::Int
    seed::UInt64
end

function AuditTarget(rule, N, n, sampling, rounds, seed)
    N, with = attacked_cohorts(rule, N, n, sampling)
    # The canary has more samples, in case that a rule or the mean weighs by them.
    x = zeros(Float32, 7, N + 9)
    clients = Clients(x, zeros(Int, N + 9), [[1:10]; [k:k for k = 11:(N+9)]])
    f = Federated(softmax_regression(7, 3); rules = (rule,), weights = :uniform,
        optimizer = Optimisers.Descent(0.0f0), batchsize = 1, maxsteps = 1)
    claim = guarantee(f, with, clients)
    claim === nothing &&
        fail("rule ", nameof(typeof(rule)), " promises no ε that could be audited")
    without =
        claim.replaced ? with :
        CohortSampling(with.clients_per_round; with.sampling,
            availability = AvailabilityTrace(reshape((1:N) .!= CANARY, N, 1)))
    pool = WorkerPool(f, clients; threads = 1)
    return AuditTarget(f, clients, with, without, claim, pool, rounds, seed)
end

attacked_cohorts(::Rule, N, n, sampling) = N, CohortSampling(n; sampling)
attacked_cohorts(::DPSGD, N, n, sampling) =
    fail("rule DPSGD clips gradients, and the audit attacks what clients send: it can't ",
        "audit this rule")
# Its server sees who sent what, so that others hide nobody.
attacked_cohorts(::LocalDP, N, n, sampling) = 1, CohortSampling(1)

"Longer than any clip, so that what is not clipped shows."
const CANARY_LENGTH = 1e4

"The federation of a trial: seeds and the direction are its own."
function trial_federation(t::AuditTarget, i, world, canary, others)
    (; f) = t
    rng = Stream(t.seed, :attack, i, world)
    d = f.layout.n
    direction = [rand(rng, Bool) ? 1.0f0 : -1.0f0 for _ = 1:d] ./ sqrt(Float32(d))
    rules = (Canary(direction, canary, others), f.rules...)
    return Federated(f.model, f.loss, f.train, rules, f.aggregate, f.server, f.weights,
        f.trainer, rand(rng, UInt64), f.faults, f.attack, f.layout)
end

"The sum of a trial's steps along the canary, each in units of the clip if that is public."
function attack_statistic(t::AuditTarget, i, present)
    opposite = !present && t.guarantee.replaced
    f = trial_federation(t, i, present, opposite ? -CANARY_LENGTH : CANARY_LENGTH, 0)
    direction = first(f.rules).direction
    total = 0.0
    each_round(t, f, present ? t.with : t.without) do round, clip, step
        total += attack_sign(round) * dot(direction, step) / clip
    end
    return total
end

"Call `see(round, clip, step)` with what each round publishes; returns the state after it."
function each_round(see, t::AuditTarget, f, sampling)
    st = State(f, t.pool)
    for round = 1:t.rounds
        clip = public_clip(st)
        fill!(st.θ, 0)          # so that a small step loses no digits
        next_round!(f, st, t.clients, sampling, t.pool)
        see(round, something(clip, 1.0), st.θ)
    end
    return st
end

# The clip that adapts is published, in the state of the rule.
function public_clip(st)
    shared = last(st.shared)
    return hasproperty(shared, :clip) ? shared.clip : nothing
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

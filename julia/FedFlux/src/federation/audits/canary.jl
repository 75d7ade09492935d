# The attacks of an audit: a canary that sends what tells most about one client, what the
# run's seed tells of the cohorts, and hostile clients beside the canary.

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
function trial_federation(t::AuditTarget, i, world, canary, others; hostile = false)
    (; f) = t
    N = length(t.clients)
    rng = Stream(t.seed, :attack, i, world)
    d = f.layout.n
    direction = [rand(rng, Bool) ? 1.0f0 : -1.0f0 for _ = 1:d] ./ sqrt(Float32(d))
    rules = (Canary(direction, canary, others), f.rules...)
    attack =
        hostile ? Attackers(Colossus(direction, N); clients = [N - 1, N]) : f.attack
    return Federated(f.model, f.loss, f.train, rules, f.aggregate, f.server, f.weights,
        f.trainer, rand(rng, UInt64), f.faults, attack, f.layout)
end

# Two hostile clients, which send past their own clip: one so much that no noise is left
# after rounding, the other what brings the mean of all N between two Float32 values. The
# canary's part then decides in which direction it is rounded.
struct Colossus <: Attack
    direction::Vector{Float32}
    N::Int
end

function send(a::Colossus, m, ctx)
    part = m.client == a.N ? COLOSSAL : eps(COLOSSAL) / 2
    delta = attack_sign(m.round) .* Float32(a.N * part) .* sign.(a.direction)
    return (with_update(m, Update(m.update; delta)),)
end

const COLOSSAL = 2.0f0^27

"""
The statistics of each attack, as (its name, those with the canary, those without). Who
knows the run's seed looks only at the rounds in whose cohort the canary is by it.
"""
function attack_statistics(t::AuditTarget, trials)
    found(present; kw...) = [attack_statistic(t, i, present; kw...) for i = 1:trials]
    with, without = found(true), found(false)
    statistics = [("a canary", first.(with), first.(without))]
    (; clients_per_round, sampling) = t.with
    chance = length(t.clients) > clients_per_round || sampling isa PoissonSampling
    chance && push!(statistics, ("the run's seed known", last.(with), last.(without)))
    length(t.clients) > 2 && push!(
        statistics,
        ("two hostile clients besides",
            first.(found(true; hostile = true)), first.(found(false; hostile = true)))
    )
    return statistics
end

"""
The sum of a trial's steps along the canary, each in units of the clip if that is public;
and that of the rounds in which it takes part, as far as the seed tells.
"""
function attack_statistic(t::AuditTarget, i, present; hostile = false)
    opposite = !present && t.guarantee.replaced
    canary = opposite ? -CANARY_LENGTH : CANARY_LENGTH
    f = trial_federation(t, i, present, canary, 0; hostile)
    direction = first(f.rules).direction
    total = foreseen = 0.0
    each_round(t, f, present ? t.with : t.without) do round, clip, step
        seen = attack_sign(round) * dot(direction, step) / clip
        total += seen
        n = t.with.clients_per_round
        CANARY in draw_cohort(t.with, t.clients, n, f.seed, round) && (foreseen += seen)
    end
    return total, foreseen
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

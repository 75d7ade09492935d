# What the private rules of a federation guarantee, round by round: whether it can be
# accounted at all, ε, and in which words.

"""
    Guarantee

What is accounted for a run: `unit`, whom it protects; `accounting`, what its rounds cost
([`spent`](@ref)); `delta`; the `budget` for ε, or `nothing`; `replaced`, whether neighbors
differ in the data of a unit rather than in its presence, and `neighbours`, that in words;
`noise`, where it comes from; `why` sampling makes ε smaller, or doesn't; what is
`not_covered`; and a `warning` to give before the first round, or `nothing`.
"""
Base.@kwdef struct Guarantee{A}
    unit::String
    accounting::A
    delta::Float64
    budget::Union{Nothing,Float64} = nothing
    replaced::Bool = accounting.sampling === :fixed
    neighbours::String =
        replaced ? "the unit's data replaced by others" : "with and without the unit"
    noise::String
    why::String
    not_covered::Vector{String} = NOT_COVERED
    warning::Union{Nothing,String} = nothing
end

const NOT_COVERED = [
    "the history's losses, accuracies, bytes and numbers of clients, which carry no noise",
    "hyper-parameters chosen by earlier runs on the same data",
    "the rounding of floating-point noise, and the time that a step takes"]

"Where the noise of a rule comes from, in words."
noise_in_words(r) =
    r.reproducible ?
    "from the run's seed: an experiment, private from nobody who knows it" :
    "from a cryptographically secure generator"

"""
    guarantee(f, sampling::CohortSampling, clients) -> Guarantee or nothing

The guarantee of a federation with these clients, whose cohorts are drawn so: that of its
first rule that makes one, or of its aggregator. Throws a [`FedFluxError`](@ref) if the
claim would not hold.
"""
function guarantee(f::Federated, sampling, clients)
    hidden = f.aggregate isa Union{SecureMean,CKKS}
    check_losses_known(sampling.sampling, hidden ? nameof(typeof(f.aggregate)) : nothing)
    for r in f.rules
        p = guarantee(r, f, sampling, clients)
        p === nothing && continue
        check_losses_known(sampling.sampling, "rule $(nameof(typeof(r)))")
        return p
    end
    return guarantee(f.aggregate, f, sampling, clients)
end

guarantee(::Union{Rule,Aggregator}, f, sampling, clients) = nothing

# Its former name, for rules of the user's own.
const promise = guarantee

# Who sees a client's update only with its noise needs no other assumption.
guarantee(r::LocalDP, f, sampling, clients) =
    Guarantee(; unit = "one client's data, in each round that it takes part in",
        accounting = EqualRounds(r.noise_multiplier / 2, 1.0, :none), r.delta,
        replaced = true, noise = noise_in_words(r),
        why = "none: the server sees who sent which update")

# An example's client may be absent from a round; nothing is claimed for that.
function guarantee(r::DPSGD, f, sampling, clients)
    sizes = unique(nsamples(clients, k) for k = 1:length(clients))
    steps = [example_mechanism(f, n) for n in sizes]
    rate, kind, why = without_seed(maximum(m -> m.sampling_rate, steps), :poisson,
        "each example is in a local step with this probability at most, independently",
        !r.reproducible)
    cost(m) = m.steps .* step_rdp(RDP_ORDERS, r.noise_multiplier, m.sampling_rate, kind)
    return Guarantee(; unit = "one example of one client",
        accounting = EqualRounds(r.noise_multiplier, rate, kind, cost.(steps)),
        r.delta, noise = noise_in_words(r), why, warning = seed_warning(r, why))
end

function guarantee(r::ClientDP, f, sampling, clients)
    N = length(clients)
    check_cohorts(r, f)
    update_noise(r, expected_clients(sampling, N))      # refuses too little count_noise
    rate, kind, why = without_seed(accounted(sampling.sampling, sampling, N)...,
        secret_cohorts(f.rules))
    return Guarantee(; unit = "one client", r.delta, r.budget, why,
        accounting = EqualRounds(r.noise_multiplier, rate, kind), noise = noise_in_words(r),
        not_covered = not_covered(f.aggregate), warning = seed_warning(r, why))
end

function guarantee(r::DPFTRL, f, sampling, clients)
    n, N = sampling.clients_per_round, length(clients)
    check_cohorts(r, f)
    follows_round(sampling.sampling, n, N) ||
        fail("rule DPFTRL needs cohorts that follow from the number of the round, so that ",
            "a client's turns are far apart: use sampling = \"round_robin\", or all ",
            "clients in each round; for cohorts drawn by ",
            nameof(typeof(sampling.sampling)), " there is ClientDP")
    return Guarantee(; unit = "one client", r.delta, r.budget,
        accounting = TreeRounds(r.noise_multiplier, n, N), noise = noise_in_words(r),
        neighbours = "a client's updates, or zeros in their place",
        not_covered = not_covered(f.aggregate),
        why = "none: a client has a turn in one of $(N ÷ n) rounds at most; each counts")
end

# The server clips what it can read.
not_covered(::Aggregator) = NOT_COVERED
not_covered(::CKKS) = [NOT_COVERED; UNSEEN_CLIP]

# The server draws the cohorts, so that chance hides nobody from it.
function guarantee(a::SecureMean, f, sampling, clients)
    a.noise === nothing && return nothing
    f.weights === :uniform || fail("SecureMean clips each client to the same norm, and ",
        "weights is \"samples\": give weights = \"uniform\"")
    values = sum(length, parts(nobody_sent(f.rules, zero_update(f), length(clients))))
    largest = most_clients(sampling.sampling, f, sampling, length(clients))
    fewest_senders(a, largest) <= largest || fail("SecureMean: cohort is ", a.cohort,
        ", of which ", fewest_senders(a, largest),
        " must send, and a round has at most ",
        largest, " clients")
    return Guarantee(; unit = "one client's data, in each round that it takes part in",
        accounting = SecureRounds(a, largest, values), a.delta, a.budget,
        neighbours = "a client's updates, or zeros in their place",
        noise = "from cryptographically secure generators, of each client its share",
        why = "none: the server knows who takes part",
        not_covered = [NOT_COVERED[1:2]; NOT_COVERED_BY_SECURE])
end

const UNSEEN_CLIP = "clients that clip otherwise than asked: nobody sees what they send"

const NOT_COVERED_BY_SECURE = [
    "clients that work with the server: they know their own noise, and the multiplier is " *
    "√((m − c)/m) of what it would be, where c of m senders do",
    "clients that clip or add noise otherwise than asked: nobody sees what they send",
    "the time that a step takes"]

"What clients would send, all zeros."
zero_update(f::Federated) = Update(; delta = zeros(Float32, f.layout.n),
    stats = zeros(Float32, sum(length, statistics(f.model); init = 0)))

"The most clients that a cohort can have."
most_clients(::Sampling, f, c, N) = cohort_size(f.faults, c.clients_per_round, N)
most_clients(::Union{PoissonSampling,FunctionSampling}, f, c, N) = N

"Whether a client's turns are known beforehand; an unavailable one only loses them."
follows_round(::Sampling, n, N) = false
follows_round(::RoundRobin, n, N) = true
follows_round(::UniformSampling, n, N) = n >= N

"Throw if the cohorts of a federation are not those that a rule accounts for."
function check_cohorts(r::CentralDP, f)
    name, (; overselect, min_updates) = nameof(typeof(r)), f.faults
    f.weights === :uniform ||
        fail("rule ", name, " clips each client to the same norm, and ",
            "weights is \"samples\": give weights = \"uniform\"")
    overselect == 1 || fail("rule ", name, " accounts for the cohort that is drawn, and ",
        "overselect = ", overselect, " keeps the fastest of it: leave it out")
    min_updates == 1 || fail("rule ", name, " adds noise in every round, and min_updates ",
        "= ", min_updates, " would show when few took part: leave it out")
end

"Whether nobody may see how many took part: a round without clients is then as any other."
hides_cohort(rules::Tuple) = any(hides_cohort, rules)
hides_cohort(::Rule) = false
hides_cohort(::CentralDP) = true

"Whether ε counts on nobody's knowing who is in a cohort: then no seed may draw it."
secret_cohorts(rules::Tuple) = any(secret_cohorts, rules)
secret_cohorts(::Rule) = false
secret_cohorts(r::ClientDP) = !r.reproducible

"""
The rate, the kind of sampling and why, as the accountant may assume them: chance makes ε
smaller only if nobody can know how it turned out, and the run's seed is in every result and
on every node.
"""
without_seed(rate, kind, why, secret) =
    secret || kind === :none ? (rate, kind, why) : (1.0, :none, KNOWN_CHANCE)

const KNOWN_CHANCE = "none: who is drawn follows from the run's seed, which others may know"

seed_warning(r, why) =
    why != KNOWN_CHANCE ? nothing :
    string("rule ", nameof(typeof(r)), " has reproducible = true: noise and sampling ",
        "follow from the run's seed, so ε is that without amplification by sampling; ",
        "leave reproducible out where privacy counts")

"Zeros of all that one of `N` clients would send: the aggregate of a round without any."
nobody_sent(rules::Tuple, st::State, N) =
    nobody_sent(rules, Update(; delta = zero(st.θ), stats = zero(st.stats)), N)
nobody_sent(rules::Tuple, u::Update, N) =
    foldl((u, r) -> nobody_sent(r, u, N), rules; init = u)

"The number of clients that a round is expected to have: public, unlike how many came."
expected_clients(c::CohortSampling, N) =
    expected_clients(c.sampling, c.clients_per_round, N)
expected_clients(::Sampling, n, N) = Float64(min(n, N))
expected_clients(s::PoissonSampling, n, N) = something(s.rate, n / N) * N

"The rate, the kind of sampling that the accountant may assume, and why."
accounted(s::PoissonSampling, c, N) =
    (min(1.0, something(s.rate, c.clients_per_round / N)),
        :poisson, "each client is in a cohort with this probability at most, independently")
function accounted(::UniformSampling, c, N)
    c.clients_per_round >= N && return 1.0, :none, "none: all clients take part"
    c.availability isa AlwaysAvailable || return 1.0, :none,
    "none: clients are drawn out of those available, and few may be"
    return c.clients_per_round / N, :fixed, "cohorts of one size, all equally likely"
end
accounted(::RoundRobin, c, N) = 1.0, :none, "none: cohorts follow from the round"
accounted(s::Sampling, c, N) = fail("rule ClientDP can't account for cohorts drawn by ",
    nameof(typeof(s)), ": use sampling = \"poisson\", \"uniform\" or \"round_robin\"")

"""
ε after `rounds` rounds, whose aggregators reported `reports`, or `nothing` if none is
guaranteed.
"""
epsilon_after(::Nothing, rounds, reports = ()) = nothing
epsilon_after(p::Guarantee, rounds, reports = ()) =
    largest_epsilon(p, spent(p.accounting, rounds, reports))
epsilon_ahead(p::Guarantee, rounds, reports = ()) =
    largest_epsilon(p, spent_ahead(p.accounting, rounds, reports))
largest_epsilon(p, costs) =
    maximum(rdp -> rdp_epsilon(RDP_ORDERS, rdp, p.delta), costs)

"Whether one more round could exceed the budget."
exhausted(::Nothing, rounds, reports = ()) = false
exhausted(p::Guarantee, rounds, reports = ()) =
    p.budget !== nothing && epsilon_ahead(p, rounds, reports) > p.budget

"The guarantee in words and numbers, for the result of a run of `rounds` rounds."
function statement(p::Guarantee, rounds, reports = ())
    a = p.accounting
    return Dict{String,Any}("unit" => p.unit,
        "epsilon" => as_json(epsilon_after(p, rounds, reports)), "delta" => p.delta,
        "rounds" => rounds, "accountant" => "rdp",
        "noise_multiplier" => a.noise_multiplier, "sampling" => string(a.sampling),
        "sampling_rate" => a.rate, "amplification" => p.why, "neighbours" => p.neighbours,
        "noise" => p.noise, "not_covered" => p.not_covered)
end

statement(::Nothing, rounds, reports = ()) = nothing

# What the private rules of a federation promise, round by round: whether it can be
# accounted at all, ε, and in which words.

"""
    Promise

What is accounted for a run: `unit`, whom it protects; `noise_multiplier`, `rate` and
`sampling` of a step, as [`compose!`](@ref) takes them; `costs`, the RDP of a round at
`RDP_ORDERS`, for each size of client where that matters; `delta`; the `budget` for ε, or
`nothing`; `replaced`, whether neighbours differ in the data of a unit rather than in its
presence; `reproducible`, whether the noise can be drawn again; and `why` sampling makes it
smaller, or doesn't.
"""
Base.@kwdef struct Promise
    unit::String
    noise_multiplier::Float64
    rate::Float64
    sampling::Symbol
    costs::Vector{Vector{Float64}} =
        [step_rdp(RDP_ORDERS, noise_multiplier, rate, sampling)]
    delta::Float64
    budget::Union{Nothing,Float64} = nothing
    replaced::Bool = sampling === :fixed
    reproducible::Bool
    why::String
end

"""
    promise(f, sampling::CohortSampling, clients) -> Promise or nothing

The promise of a federation with these clients, whose cohorts are drawn so: that of its
first rule that makes one. Throws a [`FedFluxError`](@ref) where the claim of a private rule
would not hold.
"""
function promise(f::Federated, sampling, clients)
    for r in f.rules
        p = promise(r, f, sampling, clients)
        p === nothing || return p
    end
    return nothing
end

promise(::Rule, f, sampling, clients) = nothing

# Who sees a client's update only with its noise needs no other assumption.
promise(r::LocalDP, f, sampling, clients) =
    Promise(; unit = "one client's data, in each round that it takes part in",
        noise_multiplier = r.noise_multiplier / 2, rate = 1.0, sampling = :none, r.delta,
        replaced = true, r.reproducible,
        why = "none: the server sees who sent which update")

# An example's client may be absent from a round; nothing is claimed for that.
function promise(r::DPSGD, f, sampling, clients)
    sizes = unique(nsamples(clients, k) for k = 1:length(clients))
    steps = [example_mechanism(f, n) for n in sizes]
    cost(m) = m.steps .* step_rdp(RDP_ORDERS, r.noise_multiplier, m.sampling_rate, :poisson)
    return Promise(; unit = "one example of one client", r.noise_multiplier,
        rate = maximum(m -> m.sampling_rate, steps), sampling = :poisson,
        costs = cost.(steps), r.delta, r.reproducible,
        why = "each example is in a local step with this probability at most, independently"
    )
end

function promise(r::ClientDP, f, sampling, clients)
    N = length(clients)
    (; overselect, min_updates) = f.faults
    f.weights === :uniform ||
        fail("rule ClientDP clips each client to the same norm, and ",
            "weights is \"samples\": give weights = \"uniform\"")
    overselect == 1 || fail("rule ClientDP accounts for the cohort that is drawn, and ",
        "overselect = ", overselect, " keeps the fastest of it: leave it out")
    min_updates == 1 || fail("rule ClientDP adds noise in every round, and min_updates = ",
        min_updates, " would show when few took part: leave it out")
    update_noise(r, expected_clients(sampling, N))      # refuses too little count_noise
    rate, kind, why = accounted(sampling.sampling, sampling, N)
    return Promise(; unit = "one client", r.noise_multiplier, rate, sampling = kind,
        r.delta, r.budget, r.reproducible, why)
end

"Whether nobody may see how many took part: a round without clients is then as any other."
hides_cohort(rules::Tuple) = any(hides_cohort, rules)
hides_cohort(::Rule) = false
hides_cohort(::ClientDP) = true

"The aggregate of a round without clients: zeros of all that clients would send."
nobody_sent(rules::Tuple, st::State) =
    foldl((u, r) -> nobody_sent(r, u), rules;
        init = Update(; delta = zero(st.θ), stats = zero(st.stats)))

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

"ε after `rounds` rounds, `nothing` without a promise."
epsilon_after(::Nothing, rounds) = nothing
epsilon_after(p::Promise, rounds) =
    maximum(cost -> rdp_epsilon(RDP_ORDERS, rounds .* cost, p.delta), p.costs)

"Whether one more round would exceed the budget."
exhausted(::Nothing, rounds) = false
exhausted(p::Promise, rounds) =
    p.budget !== nothing && epsilon_after(p, rounds + 1) > p.budget

"The promise in words and numbers, for the result of a run of `rounds` rounds."
function statement(p::Promise, rounds)
    return Dict{String,Any}("unit" => p.unit,
        "epsilon" => as_json(epsilon_after(p, rounds)), "delta" => p.delta,
        "rounds" => rounds, "accountant" => "rdp",
        "noise_multiplier" => p.noise_multiplier, "sampling" => string(p.sampling),
        "sampling_rate" => p.rate, "amplification" => p.why,
        "neighbours" =>
            p.replaced ? "the unit's data replaced by others" : "with and without the unit",
        "noise" =>
            p.reproducible ?
            "from the run's seed: an experiment, private from nobody who knows it" :
            "from a cryptographically secure generator",
        "not_covered" => NOT_COVERED)
end

const NOT_COVERED = [
    "the history's losses, accuracies, bytes and numbers of clients, which carry no noise",
    "hyper-parameters chosen by earlier runs on the same data",
    "the rounding of floating-point noise, and the time that a step takes"]

statement(::Nothing, rounds) = nothing

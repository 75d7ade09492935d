# What the rounds of a run have cost, as Rényi differential privacy at `RDP_ORDERS`.

"""
Rounds that all cost the same: a step of the Gaussian mechanism, as [`compose!`](@ref) takes
it, or what `costs` gives for a round, for each size of client if that matters.
"""
struct EqualRounds
    noise_multiplier::Float64
    rate::Float64
    sampling::Symbol
    costs::Vector{Vector{Float64}}
end
EqualRounds(σ, rate, sampling) =
    EqualRounds(σ, rate, sampling, [step_rdp(RDP_ORDERS, σ, rate, sampling)])

"""
    spent(accounting, rounds, reports) -> vectors

What a client has spent after `rounds` rounds, whose aggregators reported `reports`; a
vector for each kind of client.
"""
spent(a::EqualRounds, rounds, reports) = [rounds .* cost for cost in a.costs]

"The same after one more round, at its worst."
spent_ahead(accounting, rounds, reports) = spent(accounting, rounds + 1, reports)

"Add the rounds to an [`Accountant`](@ref)."
compose_rounds!(accountant, a::EqualRounds, rounds) =
    compose!(accountant, a.noise_multiplier, a.rate, a.sampling; steps = rounds)

"""
Rounds of [`DPFTRL`](@ref), in which `n` of `N` clients take turns: one of them is in at
most ⌈rounds·n/N⌉ rounds, and two of those are at least ⌊N/n⌋ apart.
"""
struct TreeRounds
    noise_multiplier::Float64
    n::Int
    N::Int
    rate::Float64
    sampling::Symbol
end
TreeRounds(σ, n, N) = TreeRounds(σ, n, N, 1.0, :none)

"The noise multiplier of one Gaussian mechanism that costs what `rounds` rounds do."
one_step(a::TreeRounds, rounds) = tree_noise(a.noise_multiplier, rounds;
    participations = cld(rounds * a.n, a.N), min_separation = a.N ÷ a.n)

spent(a::TreeRounds, rounds, reports) = [
    rounds == 0 ? zeros(length(RDP_ORDERS)) :
    step_rdp(RDP_ORDERS, one_step(a, rounds), 1.0, :none)
]

compose_rounds!(accountant, a::TreeRounds, rounds) =
    compose!(accountant, one_step(a, rounds), 1.0, :none)

"""
Rounds under [`SecureMean`](@ref) with noise, each by what its report says was there: as
many shares of the noise as the sum has senders. A round without a sum costs nothing.
`worst` is the cost of a round with as few senders as may be, and `known` what some reports
cost.
"""
struct SecureRounds
    law::Symbol
    noise_multiplier::Float64
    rate::Float64
    sampling::Symbol
    worst::Vector{Float64}
    known::Dict{NamedTuple,Vector{Float64}}
end

"For cohorts of at most `n` clients, whose updates have `values` numbers."
function SecureRounds(a::SecureMean, n, values)
    d = distributed_noise(a, fixed_point(a, n), n, values)
    # With a share θ of the noise: the norms over √θ, or θ times the variance.
    worst = sum_rdp(a.law, d.sensitivity, d.variance, values, noise_cohort(a, n);
        share = a.threshold)
    return SecureRounds(a.law, a.noise, 1.0, :none, worst, Dict())
end

"The RDP of a sum with the noise of `senders` clients, or with a `share` of it."
function sum_rdp(law, l2, variance, dimension, senders; share = 1.0)
    l1 = min(sqrt(dimension) * l2, l2^2)         # of integers, so |x| ≤ x²
    skellam(α) = skellam_rdp(α; variance = share * senders * variance, l1, l2)
    gaussian(α) = discrete_gaussian_rdp(α; sigma = sqrt(variance), clients = senders,
        l1 = l1 / sqrt(share), l2 = l2 / sqrt(share), dimension)
    return map(law === :skellam ? skellam : gaussian, RDP_ORDERS)
end

round_cost(a::SecureRounds, r) =
    get(r, :senders, 0) == 0 ? zero(a.worst) :
    get!(a.known, r[(:sensitivity, :variance, :dimension, :senders)]) do
        sum_rdp(a.law, r.sensitivity, r.variance, r.dimension, r.senders)
    end

# Without the reports of all rounds nobody knows what they cost.
spent(a::SecureRounds, rounds, reports) = [
    length(reports) < rounds ? fill(Inf, length(a.worst)) :
    sum(r -> round_cost(a, r), reports; init = zero(a.worst))
]

spent_ahead(a::SecureRounds, rounds, reports) =
    [cost .+ a.worst for cost in spent(a, rounds, reports)]

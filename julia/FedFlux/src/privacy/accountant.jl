# The accountants: what the steps so far have cost, and ε for it.

"More steps in one call are a mistake."
const MOST_STEPS = 10^9

"How the clients of a round are drawn, as far as the accountant may rely on it."
const SAMPLINGS = (:poisson, :fixed, :none)

"With less noise than this, ε is infinite: it would be above 1e11."
const LEAST_NOISE = 1e-6

"""
An accountant keeps what the steps of a run have cost: [`RDPAccountant`](@ref) and
[`PLDAccountant`](@ref). [`compose!`](@ref) adds steps, [`epsilon`](@ref) gives ε.
"""
abstract type Accountant end

"""
    RDPAccountant(; delta, orders = FedFlux.RDP_ORDERS)

Accounts by Rényi differential privacy, for every sampling and every mechanism. A step takes
about a millisecond, one as the step before a few microseconds, and so does `epsilon`. ε is
above [`PLDAccountant`](@ref)'s. `orders` are the orders α > 1 that are kept.

Throws a [`FedFluxError`](@ref) for a `delta` outside (0, 1) or an order not above 1.

```julia
accountant = RDPAccountant(; delta = 1e-5)
compose!(accountant, 1.0, 0.1; steps = 100)
epsilon(accountant)      # 7.904
```
"""
mutable struct RDPAccountant <: Accountant
    const delta::Float64
    const orders::Vector{Float64}
    const rdp::Vector{Float64}
    last_step::Tuple{Float64,Float64,Symbol}
    last_cost::Vector{Float64}
    function RDPAccountant(; delta, orders = RDP_ORDERS)
        check_delta(delta)
        isempty(orders) && fail("orders is empty; expected numbers above 1")
        all(α -> isfinite(α) && α > 1, orders) ||
            fail("orders are ", orders, "; expected numbers above 1")
        return new(delta, collect(orders), zeros(length(orders)), (NaN, NaN, :none), [])
    end
end

"""
    PLDAccountant(; delta, interval = 1e-4)

Accounts by privacy-loss distributions, for Gaussian noise with Poisson cohorts or without
amplification by sampling: a smaller ε than [`RDPAccountant`](@ref)'s for the same run.
Steps are only counted; `epsilon` computes, as a rule in 10 to 100 ms for each different
step. `interval` is the spacing of the grid of losses: ε is rounded up on it, so a smaller
one gives a smaller ε if the losses of single steps are small, in more time.

Throws a [`FedFluxError`](@ref) for a `delta` outside (0, 1) or an `interval` that is not
positive.

```julia
accountant = PLDAccountant(; delta = 1e-5)
compose!(accountant, 1.0, 0.1; steps = 100)
epsilon(accountant)      # 7.047
```
"""
struct PLDAccountant <: Accountant
    delta::Float64
    interval::Float64
    steps::Dict{Tuple{Float64,Float64},Int}      # (noise multiplier, rate) => count
    function PLDAccountant(; delta, interval = LOSS_INTERVAL)
        check_delta(delta)
        interval isa Real && isfinite(interval) && interval > 0 ||
            fail("interval is ", interval, "; expected a positive number")
        return new(delta, interval, Dict())
    end
end

Base.show(io::IO, a::RDPAccountant) =
    print(io, "RDPAccountant(ε = ", round(epsilon(a); digits = 4), ", δ = ", a.delta, ")")
Base.show(io::IO, a::PLDAccountant) =
    print(io, "PLDAccountant(", sum(values(a.steps)), " steps, δ = ", a.delta, ")")

"""
    compose!(accountant, noise_multiplier, sampling_rate = 1.0, sampling = :poisson;
             steps = 1)
    compose!(accountant, rdp; steps = 1)

Add `steps` steps to what `accountant` has counted, and return it.

`noise_multiplier` is the standard deviation of the noise on the sum over the norm that each
client is clipped to; `sampling_rate` the share of the clients in a cohort, in (0, 1]. What
`sampling` may be:

- `:poisson`: each client is in the cohort with probability `sampling_rate`, independently.
  Neighbors differ in the presence of one client.
- `:fixed`: the cohort is a share `sampling_rate` of all clients, drawn without replacement.
  Neighbors differ in the data of one client, which changes the sum by up to twice the
  clip. `RDPAccountant` alone.
- `:none`: no amplification: a client may be in each round, and the rate is not used.
  Neighbors differ in the presence of one client.

A function `rdp` gives the cost of any other mechanism at an order α, such as
[`skellam_rdp`](@ref) (`RDPAccountant` alone).

Throws a [`FedFluxError`](@ref) for a value out of its bounds, and for what the accountant
can't account.

```julia
accountant = RDPAccountant(; delta = 1e-5)
compose!(accountant, 1.2, 0.05; steps = 10)
compose!(accountant, α -> FedFlux.skellam_rdp(α; variance = 900, l1 = 30, l2 = 10))
epsilon(accountant)      # 1.877
```
"""
function compose!(a::RDPAccountant, noise_multiplier::Real, sampling_rate = 1.0,
    sampling = :poisson; steps = 1)
    step = checked_step(noise_multiplier, sampling_rate, sampling)
    if step !== a.last_step
        a.last_cost = step_rdp(a.orders, step...)
        a.last_step = step
    end
    return add_cost!(a, a.last_cost, steps)
end

function compose!(a::RDPAccountant, rdp; steps = 1)
    cost = Float64[rdp(α) for α in a.orders]
    wrong = findfirst(r -> !(r >= 0), cost)
    wrong === nothing ||
        fail("the RDP at the order ", a.orders[wrong], " is ", cost[wrong],
            "; expected a number that is not negative")
    return add_cost!(a, cost, steps)
end

function add_cost!(a, cost, steps)
    check_steps(steps)
    steps == 0 || (a.rdp .+= steps .* cost)
    return a
end

function compose!(a::PLDAccountant, noise_multiplier::Real, sampling_rate = 1.0,
    sampling = :poisson; steps = 1)
    σ, q, _ = checked_step(noise_multiplier, sampling_rate, sampling)
    sampling === :fixed &&
        fail("the pld accountant can't account sampling :fixed; expected ",
            ":poisson or :none, or take the rdp accountant")
    check_steps(steps)
    a.steps[(σ, q)] = get(a.steps, (σ, q), 0) + steps
    return a
end

compose!(::PLDAccountant, rdp; steps = 1) =
    fail("the pld accountant accounts Gaussian noise alone; expected a noise multiplier, ",
        "or take the rdp accountant")

"The cost of one step at each order."
function step_rdp(orders, σ, q, sampling)
    σ < LEAST_NOISE && return fill(Inf, length(orders))
    sampling === :poisson && return [poisson_rdp(α, σ, q) for α in orders]
    sampling === :none && return [gaussian_rdp(α, σ) for α in orders]
    chi = q == 1 ? Float64[] : chi_moments(σ / 2)
    return [fixed_size_rdp(α, σ / 2, q, chi) for α in orders]
end

"""
    epsilon(accountant)

ε for the δ of the accountant, and all steps that it has counted.
"""
epsilon(a::RDPAccountant) = rdp_epsilon(a.orders, a.rdp, a.delta)
function epsilon(a::PLDAccountant)
    steps = [(σ, q, n) for ((σ, q), n) in a.steps if n > 0]
    any(s -> s[1] < LEAST_NOISE, steps) && return Inf
    ε = pld_epsilon(steps, a.delta; a.interval)
    isfinite(ε) && return ε
    other = RDPAccountant(; a.delta)        # an upper bound too, for millions of steps
    foreach(((σ, q, n),) -> compose!(other, σ, q; steps = n), steps)
    return epsilon(other)
end

function checked_step(σ, q, sampling)
    isfinite(σ) && σ > 0 ||
        fail("noise_multiplier is ", σ, "; expected a positive number")
    q isa Real && 0 < q <= 1 ||
        fail("sampling_rate is ", q, "; expected a number above 0 and at most 1")
    sampling in SAMPLINGS ||
        fail("sampling is ", repr(sampling), "; expected :poisson, :fixed or :none")
    return Float64(σ), sampling === :none ? 1.0 : Float64(q), sampling
end

check_delta(δ) =
    δ isa Real && 0 < δ < 1 ||
    fail("delta is ", δ, "; expected a number between 0 and 1")

check_steps(n) =
    n isa Integer && !(n isa Bool) && 0 <= n <= MOST_STEPS ||
    fail("steps is ", n, "; expected a whole number from 0 to ", MOST_STEPS)

# ε of a run with equal steps, σ for a wanted ε, and how mechanisms on one cohort combine.

"""
    epsilon(; noise_multiplier, sampling_rate = 1.0, steps, delta, sampling = :poisson,
            accountant = :rdp)

ε for `delta` after `steps` rounds with Gaussian noise. `noise_multiplier`, `sampling_rate`
and `sampling` as in [`compose!`](@ref); `accountant` is `:rdp` or `:pld`. The unit of
privacy is what the clip bounds: a client, or an example in DP-SGD.

Throws a [`FedFluxError`](@ref) for a value out of its bounds, and for `:pld` with `:fixed`.

```julia
plan = (; noise_multiplier = 1.3, sampling_rate = 0.0025, steps = 6000, delta = 1e-5)
epsilon(; plan...)                         # 0.7242
epsilon(; plan..., accountant = :pld)      # 0.6401
```
"""
function epsilon(; noise_multiplier, sampling_rate = 1.0, steps, delta, sampling = :poisson,
    accountant = :rdp)
    noise_multiplier isa Real ||
        fail("noise_multiplier is ", repr(noise_multiplier), "; expected a positive number")
    a = new_accountant(accountant, delta)
    return epsilon(compose!(a, noise_multiplier, sampling_rate, sampling; steps))
end

function new_accountant(name, delta)
    name === :rdp && return RDPAccountant(; delta)
    name === :pld && return PLDAccountant(; delta)
    fail("accountant is ", repr(name), "; expected :rdp or :pld")
end

"Above this noise multiplier, more noise is not looked for."
const MOST_NOISE = 1e9

"""
    noise_multiplier(; epsilon, sampling_rate = 1.0, steps, delta, sampling = :poisson,
                     accountant = :rdp)

The smallest noise multiplier, to six digits, with which `steps` rounds cost at most
`epsilon`; rounded up. The arguments as in [`FedFlux.epsilon`](@ref).

Throws a [`FedFluxError`](@ref) for a value out of its bounds, and if no noise will do.

```julia
noise_multiplier(; epsilon = 8, sampling_rate = 0.04, steps = 2250, delta = 1e-5)  # 1.4159
```
"""
function noise_multiplier(; epsilon, sampling_rate = 1.0, steps, delta, sampling = :poisson,
    accountant = :rdp)
    epsilon isa Real && isfinite(epsilon) && epsilon > 0 ||
        fail("epsilon is ", epsilon, "; expected a positive number")
    cost(σ) =
        FedFlux.epsilon(; noise_multiplier = σ, sampling_rate, steps, delta, sampling,
            accountant)
    high = 1.0
    while cost(high) > epsilon
        high *= 2
        high <= MOST_NOISE || fail("epsilon is ", epsilon,
            "; expected one that a noise multiplier up to ", MOST_NOISE, " gives")
    end
    low = high / 2
    while cost(low) <= epsilon
        low, high = low / 2, low
        high > 1e-6 || return high        # no step costs anything to speak of
    end
    while high - low > 1e-7 * high
        middle = (low + high) / 2
        cost(middle) <= epsilon ? (high = middle) : (low = middle)
    end
    return high
end

"""
    joint_noise(σ...)

The noise multiplier of the one Gaussian mechanism that costs what several on the same
cohort cost together: (Σ σᵢ⁻²)^(−1/2). The sum of an adaptive clip's bits, each 1/2 or −1/2,
with noise of standard deviation s has σ = 2s (Andrew et al., arXiv:1905.03871).

```julia
FedFlux.joint_noise(3.0, 4.0)      # 2.4
```
"""
joint_noise(σ...) = 1 / sqrt(sum(s -> (1 / s)^2, σ))

"""
    update_noise(z, bit_noise)

The noise multiplier of the updates with which they and the bits of an adaptive clip, with
noise of standard deviation `bit_noise` on their sum, cost `z` together:
(z⁻² − (2 `bit_noise`)⁻²)^(−1/2). Andrew et al., arXiv:1905.03871, Theorem 1.

Throws a [`FedFluxError`](@ref) if the bits alone cost more than `z`.

```julia
FedFlux.update_noise(1.0, 5.0)     # 1.00504
```
"""
function update_noise(z, bit_noise)
    rest = (1 / z)^2 - (1 / 2bit_noise)^2
    rest > 0 || fail("the noise on the bits of the adaptive clip is ", bit_noise,
        "; expected more than ", z / 2, ", half of the noise multiplier")
    return 1 / sqrt(rest)
end

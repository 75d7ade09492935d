# RDP of integer noise that clients add themselves, for sums under secure aggregation. A
# client's vector is scaled and rounded to integers first: sensitivities and noise are in
# these integers. Without amplification by sampling.

"""
    discrete_gaussian_rdp(α; sigma, clients, l1, l2, dimension)

RDP of order `α` of a sum to which each of `clients` clients adds discrete Gaussian noise of
parameter `sigma`, at least 1/2; `l1` and `l2` bound the norms of a client's integer vector
of length `dimension`. A sum of discrete Gaussians is not one: the difference is
τ = 10 Σₖ exp(−2π²σ² k/(k + 1)), k = 1 … clients − 1. Clients that drop out take their noise
with them, so `clients` is the smallest number that a round accepts. Kairouz, Liu, Steinke
2021, arXiv:2102.06387, Proposition 14.

Throws a [`FedFluxError`](@ref) for a value out of its bounds.

```julia
noise = (; sigma = 10, clients = 100)
FedFlux.discrete_gaussian_rdp(2; noise..., l1 = 30, l2 = 10, dimension = 9)      # 0.01
```
"""
function discrete_gaussian_rdp(α; sigma, clients, l1, l2, dimension)
    isfinite(sigma) && sigma >= 0.5 || fail("sigma is ", sigma, "; expected at least 0.5")
    clients >= 1 || fail("clients is ", clients, "; expected 1 or more")
    dimension >= 1 || fail("dimension is ", dimension, "; expected 1 or more")
    check_sensitivities(l1, l2)
    τ = 10sum(k -> exp(-2π^2 * sigma^2 * k / (k + 1)), 1:(clients-1); init = 0.0)
    s1, s2 = (l1, l2) ./ (sqrt(clients) * sigma)
    return min(α / 2 * s2^2 + τ * dimension,
        α / 2 * (s2^2 + 2s1 * τ + τ^2 * dimension),
        α / 2 * (s2 + τ * sqrt(dimension))^2)
end

"""
    skellam_rdp(α; variance, l1, l2)

RDP of order `α` of a sum with symmetric Skellam noise (the difference of two Poisson
numbers) of this `variance` in all; `l1` and `l2` bound the norms of a client's integer
vector. Sums of Skellam noise are Skellam noise: with n clients, each adds variance/n.
Agarwal, Kairouz, Liu 2021, arXiv:2110.04995, Corollary 3.6, for whole orders; for others
the next whole one, since RDP does not fall with α.

Throws a [`FedFluxError`](@ref) for a value out of its bounds.

```julia
FedFlux.skellam_rdp(2; variance = 10_000, l1 = 30, l2 = 10)      # 0.0100012
```
"""
function skellam_rdp(α; variance, l1, l2)
    isfinite(variance) && variance > 0 ||
        fail("variance is ", variance, "; expected a positive number")
    check_sensitivities(l1, l2)
    α = ceil(α)
    excess = min(((2α - 1) * l2^2 + 6l1) / 4variance^2, 3l1 / 2variance)
    return α * l2^2 / 2variance + excess
end

check_sensitivities(l1, l2) =
    all(s -> isfinite(s) && s > 0, (l1, l2)) ||
    fail("l1 and l2 are ", l1, " and ", l2, "; expected positive numbers")

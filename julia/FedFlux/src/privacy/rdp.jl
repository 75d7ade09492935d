# Rényi differential privacy (RDP, Mironov 2017, arXiv:1702.07476): what one step costs at
# each order α, and ε from the sum over all steps. Everything is computed in logarithms.

"The orders α that an accountant keeps: those of dp-accounting."
const RDP_ORDERS = [1 .+ (1:99) ./ 10; 11:63; 128; 256; 512; 1024]

"More than the rounding error of log A by the series of a fractional order, for A near 1."
const SERIES_ERROR = 1e-14

log_binomial(n, k) =
    first(logabsgamma(n + 1)) - first(logabsgamma(k + 1)) - first(logabsgamma(n - k + 1))

"k(k − 1)/(2σ²), which is log E_Q[(P/Q)^k] for P = N(1, σ²) and Q = N(0, σ²)."
log_moment(k, σ) = (k / σ) * ((k - 1) / σ) / 2

"""
    gaussian_rdp(α, σ)

RDP of order `α` of the Gaussian mechanism with noise multiplier `σ`: α/(2σ²).
Mironov 2017, arXiv:1702.07476, Corollary 3.
"""
gaussian_rdp(α, σ) = (α / σ) / 2σ

"""
    poisson_rdp(α, σ, q)

RDP of order `α` of the Gaussian mechanism with noise multiplier `σ` on a cohort in which
each client is with probability `q`, independently; neighbors differ in one client.
Mironov, Talwar, Zhang 2019, arXiv:1908.10530: log(A_α)/(α − 1), with A_α by section 3.3.
Infinite if the series of a fractional order has not converged in 1,000 terms.
"""
function poisson_rdp(α, σ, q)
    q == 1 && return gaussian_rdp(α, σ)
    isinteger(α) && return poisson_log_moment(Int(α), σ, q) / (α - 1)
    log_A = fractional_log_moment(α, σ, q)
    log_A > 1e-10 && return log_A / (α - 1)
    # Near A = 1 the series has lost its digits: its error is added. Or the chord between
    # the whole orders on both sides, which is above log A_α, since that is convex in α.
    above = chord(k -> poisson_log_moment(k, σ, q), α)
    return min(max(0.0, log_A) + SERIES_ERROR, above) / (α - 1)
end

"The value at α on the line through (⌊α⌋, f(⌊α⌋)) and (⌈α⌉, f(⌈α⌉))."
function chord(f, α)
    t = α - floor(α)
    return (1 - t) * f(floor(Int, α)) + t * f(ceil(Int, α))
end

# A_α − 1 = Σₖ C(α,k) q^k (1−q)^(α−k) (exp(k(k−1)/2σ²) − 1), since the binomial
# probabilities sum to 1. All its terms are positive, so no digit is lost near A = 1.
function poisson_log_moment(α::Int, σ, q)
    log_excess = -Inf
    for k = 2:α
        log_probability = log_binomial(α, k) + k * log(q) + (α - k) * log1p(-q)
        log_excess = logaddexp(log_excess, log_probability + logexpm1(log_moment(k, σ)))
    end
    return log1pexp(log_excess)
end

# The integral is cut at z, where the two densities of the mixture are equal; each side is
# a binomial series. The absolute values of its terms are added, as dp-accounting does: an
# upper bound, since the binomial coefficients change sign for k > α.
function fractional_log_moment(α, σ, q)
    z = σ^2 * log(1 / q - 1) + 0.5
    log_A = below = above = -Inf
    for k = 0:999
        j = α - k
        log_choose = log_binomial(α, k)
        term(n, m, tail) =
            log_choose + n * log(q) + m * log1p(-q) + log_moment(n, σ) +
            logerfc(tail / (sqrt(2) * σ)) - log(2)
        before = (below, above)
        below, above = term(k, j, k - z), term(j, k, z - j)
        log_A = logaddexp(log_A, logaddexp(below, above))
        below < before[1] && above < before[2] && max(below, above) < log_A - 30 &&
            return log_A
    end
    return Inf
end

"""
    fixed_size_rdp(α, σ, q, chi = chi_moments(σ))

RDP of order `α` of the Gaussian mechanism on a cohort of fixed size, a share `q` of all
clients drawn without replacement; neighbors differ in the data of one client, and `σ` is
the standard deviation of the noise over the largest change that this makes (2C for a clip
to C). Wang, Balle, Kasiviswanathan 2019, arXiv:1808.00087, Theorem 27; fractional orders by
their Corollary 10; orders above 256 by the simpler bound of each term, as dp-accounting.
"""
function fixed_size_rdp(α, σ, q, chi = chi_moments(σ))
    q == 1 && return gaussian_rdp(α, σ)
    log_A =
        isinteger(α) ? fixed_size_log_moment(Int(α), σ, q, chi) :
        chord(k -> fixed_size_log_moment(k, σ, q, chi), α)
    return log_A / (α - 1)
end

function fixed_size_log_moment(α, σ, q, chi)
    log_excess = -Inf
    for k = 2:α
        log_term = log(2) + log_moment(k, σ)
        if k == 2
            log_term = min(log_term, log(4) + logexpm1((1 / σ)^2))
        elseif α <= 2length(chi)     # 4 √(B(2⌊k/2⌋) B(2⌈k/2⌉))
            log_term = min(log_term, log(4) + (chi[fld(k, 2)] + chi[cld(k, 2)]) / 2)
        end
        log_excess = logaddexp(log_excess, log_term + k * log(q) + log_binomial(α, k))
    end
    return log1pexp(log_excess)
end

"The B of all even orders that Theorem 27 is used with."
chi_moments(σ) = [chi_moment(k, σ) for k = 2:2:256]

"""
    chi_moment(k, σ)

log E_Q[(P/Q − 1)^k] for an even `k`, P = N(1, σ²) and Q = N(0, σ²): B of Theorem 27 in
arXiv:1808.00087, there a k-th forward difference. Differences cancel; the integral of the
positive integrand by the trapezoidal rule does not, and it is exact to rounding, since the
integrand is entire and decays as a Gaussian.
"""
function chi_moment(k, σ)
    peak = k / σ
    low = peak > 80 ? peak - 40 : -40.0     # where the left lobe counts, it is near 0
    step = 0.05
    log_sum = -Inf
    for x = low:step:(peak+40)
        ratio = x / σ - 1 / 2σ^2            # log P/Q
        log_distance = ratio > 0 ? logexpm1(ratio) : log(-expm1(ratio))
        log_sum = logaddexp(log_sum, k * log_distance - x^2 / 2)
    end
    return log_sum + log(step) - log(2π) / 2
end

"""
    rdp_epsilon(orders, rdp, delta)

The smallest ε for `delta` that RDP of `rdp[i]` at `orders[i]` gives, never negative:
ε = r + log((α − 1)/α) − log(δα)/(α − 1), the best over the orders (Canonne, Kamath, Steinke
2020, arXiv:2004.00010, Proposition 12), and 0 if δ ≥ √(1 − exp(−r)), which bounds the
total variation by the Kullback-Leibler divergence. Orders up to 1.01 serve for the second
alone.
"""
function rdp_epsilon(orders, rdp, delta)
    ε = Inf
    for (α, r) in zip(orders, rdp)
        delta^2 + expm1(-r) > 0 && return 0.0
        α > 1.01 || continue
        ε = min(ε, r + log1p(-1 / α) - (log(delta) + log(α)) / (α - 1))
    end
    return max(0.0, ε)
end

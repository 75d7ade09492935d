# Skellam noise: the difference of two Poisson numbers, each sampled exactly, by rejection
# from the discrete Laplace distribution.

"""
    PoissonLaw(mean)

The Poisson distribution of this mean, ready to be sampled: `mode`; the `scale` of the
discrete Laplace numbers around it that are proposed; and `most`, no less than the logarithm
of the largest ratio of the probabilities, each over its value at the mode.
"""
struct PoissonLaw
    mean::Float64
    mode::Int64
    scale::Int64
    most::Float64
end

function PoissonLaw(mean)
    mode = floor(Int64, mean)
    scale = isqrt(mode) + 1
    # Beyond the mode the ratio rises while mean/k > exp(−1/scale); below, it is largest
    # where k/mean < exp(−1/scale) first holds.
    above = max(0, floor(Int64, mean * expm1(1 / scale) - (mode - mean)))
    below = max(0, floor(Int64, mode + 1 - mean * exp(-1 / scale)))
    ratio(x) = log_odds(mean, mode, x) + abs(x) / scale
    near(x) = maximum(ratio, max(-mode, x-1):(x+1))
    return PoissonLaw(mean, mode, scale, max(near(above), near(-min(below, mode))) + 1e-9)
end

"log(p(mode + x)/p(mode)) of the Poisson distribution of a mean, to 1e-10."
function log_odds(mean, mode, x)
    mode + x < 0 && return -Inf
    mean < 1000 && return x * log(mean) +
           first(logabsgamma(mode + 1.0)) - first(logabsgamma(mode + x + 1.0))
    return log_weight(mean, mode + x) - log_weight(mean, mode)
end

# log p(k) without what is the same for all k: Stirling's series, and the deviance by a
# series if the logarithm would lose digits.
function log_weight(mean, k)
    k == 0 && return -mean + log(2π * mean) / 2
    y = (k - mean) / mean
    return -mean * deviance(y) - log1p(y) / 2 - 1 / 12k + 1 / (360.0 * k * k * k)
end

"(1 + y) log(1 + y) − y."
deviance(y) = abs(y) > 0.1 ? (1 + y) * log1p(y) - y : y^2 * evalpoly(y, DEVIANCE)
const DEVIANCE = ntuple(j -> (isodd(j) ? 1.0 : -1.0) / (j * (j + 1)), 15)

"""
    poisson!(r::WordRNG, law::PoissonLaw) -> Int64

A draw from a Poisson distribution.
"""
function poisson!(r::WordRNG, law::PoissonLaw)
    while true
        x = discrete_laplace!(r, UInt128(law.scale))
        law.mode + x >= 0 && accepts!(r, law, x) && return law.mode + x
    end
end

"""
True with the ratio's value at `x` over its largest as the probability: whether a uniform
number is below that. The first 64 bits of the number nearly always decide. If they come
closer than what rounding may have changed, more of both are computed.
"""
function accepts!(r, law, x)
    u = next!(r)
    gap =
        exp(log_odds(law.mean, law.mode, x) + abs(x) / law.scale - law.most) -
        Float64(u) * 2.0^-64
    return abs(gap) > 1e-9 ? gap > 0 : accepts_exactly!(r, law, x, u)
end

function accepts_exactly!(r, law, x, u)
    digits, bits = BigInt(u), 64
    while true
        digits, bits = digits << 64 + next!(r), bits + 64
        p = acceptance(law, x, bits)
        digits + 1 < p && return true
        digits > p + 1 && return false
    end
end

"The probability times 2^`bits`, to less than 1: the sums are below 2^60."
acceptance(law, x, bits) =
    setprecision(BigFloat, bits + 128) do
        mean, mode = big(law.mean), big(law.mode)
        log_factorial(k) = first(logabsgamma(k + 1))
        odds = x * log(mean) + log_factorial(mode) - log_factorial(mode + x)
        ldexp(exp(odds + big(abs(x)) / law.scale - law.most), bits)
    end

"""
    skellam!(r::WordRNG, law::PoissonLaw) -> Int64

The difference of two draws from a Poisson distribution: symmetric Skellam, of twice its
mean as the variance. A sum of such numbers is one too.
"""
skellam!(r::WordRNG, law::PoissonLaw) = poisson!(r, law) - poisson!(r, law)

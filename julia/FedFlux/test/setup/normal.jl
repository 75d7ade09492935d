# Whether numbers are normally distributed.

"The standard normal distribution's Φ(z), by the series of its integral from 0."
function Φ(z)
    abs(z) > 7 && return Float64(z > 0)
    term = total = z
    k = 1
    while abs(term) > 1e-17 * abs(total)
        term *= z^2 / (2k + 1)
        total += term
        k += 1
    end
    return 0.5 + total * exp(-z^2 / 2) / sqrt(2π)
end

"Kolmogorov's statistic √n·sup|F̂ − F|; its 0.999 quantile is 1.95."
function kolmogorov(z)
    p, n = Φ.(sort(z)), length(z)
    return sqrt(n) * maximum(i -> max(i / n - p[i], p[i] - (i - 1) / n), 1:n)
end

"""
Whether draws look like N(0, 1): the distribution, the variance, whose deviation is √(2/n),
and the mean. `sharp = false`, for draws without a seed, is wrong once in 10⁸ times.
"""
function looks_normal(z; sharp = true)
    most, deviations = sharp ? (1.95, 4) : (3.2, 6)
    return kolmogorov(Float64.(z)) < most &&
           abs(mean(abs2, z) - 1) < deviations * sqrt(2 / length(z)) &&
           abs(mean(z)) < deviations / sqrt(length(z))
end

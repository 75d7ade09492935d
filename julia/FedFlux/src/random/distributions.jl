# Random draws for skewed data. They are implemented here so that they depend on the stream
# alone and not on Julia's version.

"""
A draw from the standard normal distribution: Marsaglia's polar method (Marsaglia & Bray
1964), which discards the second draw.
"""
function normal!(rng::AbstractRNG)
    while true
        u, v = 2rand(rng, Float64) - 1, 2rand(rng, Float64) - 1
        s = u^2 + v^2
        0 < s < 1 && return u * sqrt(-2log(s) / s)
    end
end

"""
    loggamma!(rng, α)

The logarithm of a draw from Gamma(α, 1), by Marsaglia & Tsang (2000, ACM TOMS 26(3)); for
α < 1 by their note, Gamma(α + 1)·U^(1/α). The result is a logarithm because draws for a
small α are smaller than any positive Float64.
"""
function loggamma!(rng::AbstractRNG, α::Real)
    α < 1 && return loggamma!(rng, α + 1) + log(1 - rand(rng, Float64)) / α
    d = α - 1 / 3
    c = 1 / sqrt(9d)
    while true
        x = normal!(rng)
        v = (1 + c * x)^3
        v > 0 || continue
        log(1 - rand(rng, Float64)) < x^2 / 2 + d - d * v + d * log(v) && return log(d * v)
    end
end

"A draw of `n` proportions from the symmetric Dirichlet(α): non-negative, with sum 1."
function dirichlet!(rng::AbstractRNG, α::Real, n::Integer)
    logs = [loggamma!(rng, α) for _ = 1:n]
    p = exp.(logs .- maximum(logs))
    return p ./ sum(p)
end

"A draw from Beta(α, α)."
beta!(rng::AbstractRNG, α::Real) = first(dirichlet!(rng, α, 2))

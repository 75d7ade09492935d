# Noise that clients add before they mask: the discrete Gaussian, sampled exactly, without
# floating point (Canonne, Kamath, Steinke 2020, arXiv:2004.00010, Algorithms 1 to 3), or
# Skellam's.

"Uniform from 0 to n − 1: as many bits as n − 1 has, again if they are more."
function uniform!(r::WordRNG, n::UInt128)
    bits = 128 - leading_zeros(n - 1)
    while true
        x =
            bits <= 64 ? UInt128(next!(r)) : UInt128(next!(r)) << 64 | next!(r)
        x &= (UInt128(1) << bits) - 1
        x < n && return x
    end
end

"True with probability exp(−a/b). Algorithm 1."
function bernoulli_exp!(r, a::UInt128, b::UInt128)
    while a > b             # exp(−a/b) = exp(−1)·exp(−(a − b)/b)
        bernoulli_exp!(r, UInt128(1), UInt128(1)) || return false
        a -= b
    end
    k = UInt128(1)
    while uniform!(r, b * k) < a
        k += 1
    end
    return isodd(k)
end

"An integer with probability ∝ exp(−|x|/t). Algorithm 2, for a whole t."
function discrete_laplace!(r, t::UInt128)
    while true
        u = uniform!(r, t)
        bernoulli_exp!(r, u, t) || continue
        v = UInt128(0)
        while bernoulli_exp!(r, UInt128(1), UInt128(1))
            v += 1
        end
        x, negative = u + t * v, isodd(next!(r))
        negative && x == 0 && continue
        return negative ? -Int64(x) : Int64(x)
    end
end

"""
    discrete_gaussian!(r::WordRNG, variance) -> Int64

An integer with probability ∝ exp(−x²/(2·variance)), for a whole `variance` from 1 to 2^52:
Algorithm 3. The variance of what it gives is at most `variance`, and almost that.
"""
function discrete_gaussian!(r::WordRNG, variance::Integer)
    1 <= variance <= MOST_VARIANCE || refuse("the noise has a variance of ", variance,
        "; expected from 1 to ", MOST_VARIANCE)
    σ², t = UInt128(variance), UInt128(isqrt(variance) + 1)
    while true
        y = discrete_laplace!(r, t)
        d = abs(Int128(abs(y)) * Int128(t) - Int128(σ²))
        bernoulli_exp!(r, UInt128(d)^2, 2 * σ² * t^2) && return y
    end
end

const MOST_VARIANCE = Int64(2)^52       # with it no product goes beyond 128 bits

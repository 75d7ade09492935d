# The noise of one client, of which the sum of a cohort has as much as was asked for.

"""
    DistributedNoise(law, sensitivity, variance, dimension)

The noise of one client, in integers: a draw of whole `variance` from `law`,
`:discrete_gaussian` or `:skellam`, for each of its `dimension` values. `sensitivity` is the
most, in the L2 norm, by which one client changes the sum.
"""
struct DistributedNoise
    law::Symbol
    sensitivity::Float64
    variance::Int64
    dimension::Int
end

const NOISE_LAWS = (:discrete_gaussian, :skellam)

"""
    DistributedNoise(f::FixedPoint, multiplier, clip, n, values; law = :discrete_gaussian)

Noise for a sum of `n` clients whose updates of `values` numbers have an L2 norm up to
`clip`: together it has the deviation `multiplier`·sensitivity. Rounding moves each number
by at most ½, so the sensitivity is clip in integers and √values/2. The variance of a
client is rounded up. Kairouz, Liu, Steinke 2021, arXiv:2102.06387.
"""
function DistributedNoise(f::FixedPoint, multiplier, clip, n, values;
    law = :discrete_gaussian)
    sensitivity = clip * units(f) + sqrt(values) / 2
    variance = ceil((multiplier * sensitivity)^2 / n)
    variance <= MOST_VARIANCE || refuse("the noise of a client has a variance of ",
        variance, "; expected at most ", MOST_VARIANCE, ": use fewer bits")
    return DistributedNoise(law, sensitivity, max(1, Int64(variance)), values)
end

"What draws the noise: a variance, or the law of the Poisson numbers that Skellam's needs."
sampler(d::DistributedNoise) =
    d.law === :skellam ? PoissonLaw(d.variance / 2) : d.variance
noise!(r, variance::Int64) = discrete_gaussian!(r, variance)
noise!(r, law::PoissonLaw) = skellam!(r, law)

add_noise!(out, ::Nothing, f, r) = out
add_noise!(out, d::DistributedNoise, f, r) = add_draws!(out, sampler(d), r)

function add_draws!(out::AbstractVector{T}, law, r) where {T}
    for i in eachindex(out)
        out[i] += noise!(r, law) % T
    end
    return out
end

"The same for wide numbers, two integers each."
add_wide_noise!(out, ::Nothing, f, r) = out
add_wide_noise!(out, d::DistributedNoise, f, r) = add_wide_draws!(out, sampler(d), f, r)

function add_wide_draws!(out, law, f, r)
    for (i, q) in enumerate(read_wide(f, out))
        noisy = clamp(q + noise!(r, law), -widest(f), widest(f))
        write_wide!(f, view(out, (2i-1):2i), Int64(noisy))
    end
    return out
end

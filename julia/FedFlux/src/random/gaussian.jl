# Gaussian noise on a vector, fast: one local step of a private client draws as many numbers
# as the model has parameters.

const Lanes64 = Vec{8,Float64}
const Words64 = Vec{8,UInt64}

"""
    add_gaussian!(v, σ, rng) -> v

Add independent draws from N(0, `σ`²) to the values of `v`, a `Vector{Float32}` or
`Vector{Float64}`: the same draws for both. Box and Muller's transform (1958), in Float64;
the sum is rounded once. Each pair of
draws takes one 64-bit word of `rng`: 40 bits for the radius, so that no draw is beyond 7.6σ
(a normal one is with probability 3e-14), and 24 bits for the angle.

```julia
FedFlux.add_gaussian!(zeros(Float32, 1000), 0.1, SecureRandom())
```
"""
function add_gaussian!(v::Vector{T}, σ::Real,
    rng::AbstractRNG) where {T<:Union{Float32,Float64}}
    scale, n = Float64(σ), length(v)
    i = 1
    while i + 15 <= n
        a, b = normal_pairs(draw_words(rng))
        add_lanes!(v, i, scale * a)
        add_lanes!(v, i + 8, scale * b)
        i += 16
    end
    if i <= n
        a, b = normal_pairs(draw_words(rng))
        for (l, z) in enumerate((Tuple(a)..., Tuple(b)...))
            i + l - 1 <= n && (v[i+l-1] = T(v[i+l-1] + scale * z))
        end
    end
    return v
end

@inline draw_words(rng) = Words64(ntuple(_ -> rand(rng, UInt64), Val(8)))

@inline function add_lanes!(v::Vector{T}, i, noise::Lanes64) where {T}
    sum = convert(Lanes64, vload(Vec{8,T}, v, i)) + noise
    vstore(convert(Vec{8,T}, sum), v, i)
end

"Two vectors of independent standard normal draws from uniform words."
@inline function normal_pairs(w::Words64)
    radius = sqrt(-2.0 * log_unit((integer(w >> 24) + 0.5) * 2.0^-40))
    cosine, sine = cos_sin_turn((integer(w & 0x0000000000ffffff) + 0.5) * 2.0^-24)
    return radius * cosine, radius * sine
end

"A word below 2^52 as a Float64."
@inline integer(w::Words64) =
    reinterpret(Lanes64, w | 0x4330000000000000) - 4503599627370496.0

"The logarithm of 0 < u < 1, to 1e-10."
@inline function log_unit(u::Lanes64)
    shifted = reinterpret(Words64, u) - 0x3fe6a09e667f3bcd          # √½
    exponent = integer((shifted >> 52) ⊻ 0x0000000000000800) - 2048.0
    m = reinterpret(Lanes64, (shifted & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd)
    s = (m - 1.0) / (m + 1.0)                                       # log m = 2 atanh s
    t = s * s
    p = muladd(t, 1 / 11, 1 / 9)
    p = muladd(t, p, 1 / 7)
    p = muladd(t, p, 1 / 5)
    p = muladd(t, p, 1 / 3)
    p = muladd(t, p, 1.0)
    return muladd(exponent, log(2), 2.0 * s * p)
end

"The cosine and the sine of 2πu for 0 < u < 1, to 1e-8: Taylor series on an eighth turn."
@inline function cos_sin_turn(u::Lanes64)
    shifted = 4.0 * u + 6755399441055744.0       # 1.5·2^52: adding it rounds to an integer
    quarter = reinterpret(Words64, shifted)
    θ = (4.0 * u - (shifted - 6755399441055744.0)) * (π / 2)
    t = θ * θ
    s = muladd(t, 1 / 362880, -1 / 5040)
    s = θ * muladd(t, muladd(t, muladd(t, s, 1 / 120), -1 / 6), 1.0)
    c = muladd(t, -1 / 3628800, 1 / 40320)
    c = muladd(t, muladd(t, muladd(t, muladd(t, c, -1 / 720), 1 / 24), -1 / 2), 1.0)
    odd = (quarter & 0x0000000000000001) == 0x0000000000000001
    cosine, sine = vifelse(odd, s, c), vifelse(odd, c, s)
    return negate_if(cosine, quarter + 0x0000000000000001), negate_if(sine, quarter)
end

"-x if bit 1 of `quarter` is set."
@inline negate_if(x::Lanes64, quarter::Words64) =
    reinterpret(Lanes64, reinterpret(Words64, x) ⊻ ((quarter << 62) & 0x8000000000000000))

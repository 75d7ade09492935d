# Random numbers from (seed, purpose, round, client), by SplitMix64 (Steele, Lea, Flood
# 2014): the same few lines give the same numbers in Julia and NumPy, in any version.
# docs/random-streams.md specifies the draws.

const PURPOSES = (partition = 1, init = 2, cohort = 3, batches = 4, dropout = 5, rules = 6,
    availability = 7, augment = 8, personal = 9, attack = 10, faults = 11,
    root = 12, secure = 14, client_test = 15, validation = 16, client_validation = 17,
    data = 18)
const GAMMA = 0x9e3779b97f4a7c15

function mix64(z::UInt64)
    z = (z ⊻ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ⊻ (z >> 27)) * 0x94d049bb133111eb
    return z ⊻ (z >> 31)
end

"A generator of 64-bit words: `next!(r)` gives the next one."
abstract type WordRNG <: AbstractRNG end

"""
    Stream(seed, purpose, round = 0, client = 0)

A random number generator that depends on these four arguments alone, so that results do not
depend on the number of threads or on a resume.

- `seed`: a non-negative integer.
- `purpose`: one of `keys(FedFlux.PURPOSES)`, such as `:batches`.

```julia
rand(Stream(42, :batches, 1, 3), Float32)
```
"""
mutable struct Stream <: WordRNG
    state::UInt64
end

function Stream(seed::Integer, purpose::Symbol, round::Integer = 0, client::Integer = 0)
    h = zero(UInt64)
    for part in (seed, PURPOSES[purpose], round, client)
        h = mix64((h ⊻ UInt64(part)) + GAMMA)
    end
    return Stream(h)
end

Base.copy(r::Stream) = Stream(r.state)

next!(r::Stream) = mix64(r.state += GAMMA)

const Int8to64 = Union{Bool,Int8,UInt8,Int16,UInt16,Int32,UInt32,Int64,UInt64}
Random.rand(r::WordRNG, ::Random.SamplerType{T}) where {T<:Int8to64} = next!(r) % T
Random.rand(r::WordRNG, ::Random.SamplerTrivial{Random.CloseOpen01{Float32}}) =
    Float32(next!(r) >> 40) * 2.0f0^-24
Random.rand(r::WordRNG, ::Random.SamplerTrivial{Random.CloseOpen01{Float64}}) =
    Float64(next!(r) >> 11) * 2.0^-53
Random.rng_native_52(::WordRNG) = UInt64

"A random integer in 0:n-1, for 0 < n < 2^32."
below!(r::WordRNG, n::Integer) = (((next!(r) >> 32) * UInt64(n)) >> 32) % Int

function Random.shuffle!(r::WordRNG, v::AbstractVector)
    for i = length(v):-1:2
        j = 1 + below!(r, i)
        @inbounds v[i], v[j] = v[j], v[i]
    end
    return v
end

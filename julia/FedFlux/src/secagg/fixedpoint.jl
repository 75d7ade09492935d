# Fixed point: numbers as integers of the ring, so that a sum is exact.

"""
    FixedPoint{T}(cohort; range = 8.0, bits = nothing, noise = 0.0)

How numbers from `-range` to `range` become integers of the ring `T`, of which `cohort` many
can be added up: multiples of `range/2^(bits-1)`, rounded to the nearest (ties to even).
`bits` counts the sign; `nothing` takes as many as the ring holds, at most 24, which is
Float32's precision. Beside the values there is room for ten deviations of noise, of which
`noise` is one.

A *wide* number takes two integers, the digits of base 2^(bits-1), and reaches 2^(bits-1)
times as far with the same spacing.

Throws a [`FedFluxError`](@ref) if the sum of `cohort` integers would wrap around.

```julia
FedFlux.FixedPoint{UInt32}(100; range = 1.0).bits == 24
```
"""
struct FixedPoint{T<:Ring}
    range::Float64
    bits::Int
end

function FixedPoint{T}(cohort::Integer; range = 8.0, bits = nothing,
    noise = 0.0) where {T<:Ring}
    range > 0 && isfinite(range) ||
        refuse("range is ", range, "; expected a positive number")
    capacity = Int64(typemax(T) >> 1)
    needed(bits) = (cohort + 10 * noise / range) * 2.0^(bits - 1)
    fits = something(findlast(b -> needed(b) <= capacity, 1:MOST_BITS), 0)
    bits = something(bits, clamp(fits, 4, 24))
    4 <= bits <= MOST_BITS || refuse("bits is ", bits,
        "; expected from 4 to ", MOST_BITS)
    bits <= fits || refuse("the sum of ", cohort, " clients × ",
        2^(bits - 1), ", the largest integer of ", bits, " bits, goes beyond ",
        capacity, " and would wrap around in the ring of ", 8 * sizeof(T),
        " bits", noise > 0 ? ", with the noise" : "", "; use ",
        "bits=", fits, T === UInt32 ? " or ring=64" : "")
    return FixedPoint{T}(range, bits)
end

const MOST_BITS = 32        # a wide number is one Int64

limit(f::FixedPoint) = Int64(2)^(f.bits - 1)
widest(f::FixedPoint) = limit(f)^2
units(f::FixedPoint) = limit(f) / f.range

"""
    quantize!(f::FixedPoint, out, v, factor) -> clipped

Write `factor·v`, with `0 ≤ factor ≤ 1`, into `out` as integers of the ring: one for
each value, or two, for a wide number, if `out` is twice as long. Values beyond the range
are clipped before they are multiplied. `clipped` counts them.
"""
function quantize!(f::FixedPoint, out, v, factor)
    wide = length(out) == 2 * length(v)
    reach = wide ? f.range * limit(f) : f.range
    clipped = count(x -> abs(x) > reach, v)
    wide ? quantize_wide!(f, out, v, factor, reach) :
    quantize_narrow!(out, v, factor * units(f), reach)
    return clipped
end

function quantize_narrow!(out::AbstractVector{T}, v, factor, reach) where {T}
    @inbounds @simd for i in eachindex(out, v)
        x = clamp(Float64(v[i]), -reach, reach)
        out[i] = unsafe_trunc(Int64, round(x * factor)) % T
    end
end

quantize_wide!(f, out, v, factor, reach) =
    for (i, x) in enumerate(v)
        q = round(Int64, clamp(Float64(x), -reach, reach) * factor * units(f))
        write_wide!(f, view(out, (2i-1):2i), q)
    end

"The digits of `q` in base 2^(bits-1), the lower one from −2^(bits-2) on."
function write_wide!(f::FixedPoint{T}, out, q) where {T}
    half = Int64(1) << (f.bits - 2)
    low = mod(q + half, 2half) - half
    out .= ((q - low) >> (f.bits - 1) % T, low % T)
end

"The integers that a sum of wide numbers holds, each of two digits."
read_wide(f::FixedPoint, sum) =
    [Int128(signed(sum[i])) << (f.bits - 1) + signed(sum[i+1]) for i = 1:2:length(sum)]

"Sums of integers as numbers, times `factor`."
dequantize(f::FixedPoint, integers, factor) =
    Vector{Float32}(Float64.(integers) .* (factor / units(f)))

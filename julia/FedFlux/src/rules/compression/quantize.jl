# Quantization: every value is sent in few bits, with one scale for each bucket of
# neighbors.

const BUCKET = 512

buckets(n, size) = Iterators.partition(1:n, size)

"""
The `n` values that follow the scales of their buckets: `read!(r, s)` reads one, of a bucket
with the scale s, and takes at least `bits` bits.
"""
function decode_buckets(read!::F, bytes, n, bucket, bits, name) where {F}
    r = Reader(bytes)
    require_bytes(r, 4 * cld(n, bucket) + cld(n * bits, 8), "an update by $name")
    scales = readfloats!(r, cld(n, bucket), "the scales")
    v = Vector{Float32}(undef, n)
    for (s, b) in zip(scales, buckets(n, bucket)), i in b
        v[i] = read!(r, s)
    end
    check_all_read(r)
    return v
end

function checkbucket(bucket, name)
    1 <= bucket <= 1 << 20 ||
        fail("bucket of ", name, " is ", bucket, "; expected from 1 to ", 1 << 20)
end

"""
    Quantize(bits = 4; bucket = $BUCKET, feedback = true)

Send each value in `bits` bits (8, 4 or 2): one of 2^bits evenly spaced levels from −s to s,
where s is the largest magnitude in the value's `bucket`. Rounding is stochastic, so that
the value is right in expectation. `feedback`: add the rounding error to the next update.

```julia
Federated(case_study_cnn(); rules = (Quantize(4),))
```
"""
struct Quantize <: Compressor
    bits::Int
    bucket::Int
    feedback::Bool
    function Quantize(bits = 4; bucket = BUCKET, feedback = true)
        bits in (2, 4, 8) || fail("bits of quantize is ", bits, "; expected 8, 4 or 2")
        checkbucket(bucket, "quantize")
        return new(bits, bucket, feedback)
    end
end

construct(::Val{:rule}, ::Val{:quantize}; bits, bucket, feedback) =
    Quantize(bits; bucket, feedback)
feedback(c::Quantize) = c.feedback

function encode(c::Quantize, v, rng, layout)
    n, top = length(v), Float32(1 << c.bits - 1)
    w = Writer(4 * cld(n, c.bucket) + cld(n * c.bits, 8))
    scales = [maximum(abs, view(v, b)) for b in buckets(n, c.bucket)]
    writefloats!(w, scales)
    for (s, b) in zip(scales, buckets(n, c.bucket)), i in b
        # 0 ≤ position ≤ top; with s = 0 any level will do
        position = s > 0 ? (v[i] / s + 1) / 2 * top : 0.0f0
        level = floor(position + rand(rng, Float32))
        writebits!(w, unsafe_trunc(UInt64, clamp(level, 0.0f0, top)), c.bits)
    end
    return take_bytes!(w)
end

function decode(c::Quantize, bytes, n, layout)
    top = Float32(1 << c.bits - 1)
    return decode_buckets(bytes, n, c.bucket, c.bits, "quantize") do r, s
        (2 * Float32(readbits!(r, c.bits, "the levels")) / top - 1) * s
    end
end

"""
    QSGD(levels = 4; bucket = $BUCKET)

Quantization of Alistarh et al. 2017 (arXiv:1610.02132): send the Euclidean norm of each
bucket, and for each value its sign and a number from 0 to `levels`, rounded at random so
that |v| = norm·number/levels in expectation (Equation 4). Small numbers take few bits: they
are Elias gamma codes, and a zero takes one bit. There is no error feedback: the error may
exceed the update itself, so a residual would grow.

```julia
Federated(case_study_cnn(); rules = (QSGD(8),))
```
"""
struct QSGD <: Compressor
    levels::Int
    bucket::Int
    function QSGD(levels = 4; bucket = BUCKET)
        1 <= levels <= 1 << 16 ||
            fail("levels of qsgd is ", levels, "; expected from 1 to ", 1 << 16)
        checkbucket(bucket, "qsgd")
        return new(levels, bucket)
    end
end

construct(::Val{:rule}, ::Val{:qsgd}; levels, bucket) = QSGD(levels; bucket)
feedback(::QSGD) = false

function encode(c::QSGD, v, rng, layout)
    n = length(v)
    w = Writer(4 * cld(n, c.bucket) + cld(n, 4))
    norms = [Float32(sqrt(sum(abs2 ∘ Float64, view(v, b)))) for b in buckets(n, c.bucket)]
    writefloats!(w, norms)
    for (norm, b) in zip(norms, buckets(n, c.bucket)), i in b
        position = norm > 0 ? min(abs(v[i]) / norm, 1.0f0) * c.levels : 0.0f0
        # Exact in Float64, so at most levels; Float32 may round it up to levels + 1.
        number = unsafe_trunc(UInt64, Float64(position) + rand(rng, Float32))
        writegamma!(w, number + 1)
        number > 0 && writebits!(w, UInt64(signbit(v[i])), 1)
    end
    return take_bytes!(w)
end

function decode(c::QSGD, bytes, n, layout)
    return decode_buckets(bytes, n, c.bucket, 1, "qsgd") do r, norm
        number = readgamma!(r, UInt64(c.levels + 1), "a number") - 1
        negative = number > 0 && readbits!(r, 1, "a sign") == 1
        (negative ? -norm : norm) * (Float32(number) / c.levels)
    end
end

"Write `x` ≥ 1 as an Elias gamma code: a zero per bit after the first, a one, those bits."
function writegamma!(w::Writer, x::UInt64)
    nbits = 63 - leading_zeros(x)
    writebits!(w, one(UInt64) << nbits, nbits + 1)
    writebits!(w, x - one(UInt64) << nbits, nbits)
end

"Read an Elias gamma code of at most `limit`."
function readgamma!(r::Reader, limit::UInt64, what)
    nbits = 0
    while readbits!(r, 1, what) == 0
        (nbits += 1) <= 63 - leading_zeros(limit) || malformed(what, " is over ", limit)
    end
    x = one(UInt64) << nbits + readbits!(r, nbits, what)
    x <= limit || malformed(what, " is over ", limit)
    return x
end

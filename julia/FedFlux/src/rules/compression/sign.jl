# One bit per value, or one ternary digit per value.

"""
    SignSGD(; bucket = $BUCKET, feedback = true)

Send the sign of each value, and for each `bucket` the mean magnitude: (‖v‖₁/n)·sign(v), the
scaled sign of Karimireddy et al. 2019 (arXiv:1901.09847, Algorithm 1), which with error
feedback converges as SGD does. Takes a little over one bit per value.

```julia
Federated(case_study_cnn(); rules = (SignSGD(),))
```
"""
struct SignSGD <: Compressor
    bucket::Int
    feedback::Bool
    function SignSGD(; bucket = BUCKET, feedback = true)
        checkbucket(bucket, "sign")
        return new(bucket, feedback)
    end
end

feedback(c::SignSGD) = c.feedback

function encode(c::SignSGD, v, rng, layout)
    n = length(v)
    w = Writer(4 * cld(n, c.bucket) + cld(n, 8))
    writefloats!(w, (sum(abs, view(v, b)) / length(b) for b in buckets(n, c.bucket)))
    foreach(x -> writebits!(w, UInt64(signbit(x)), 1), v)
    return take_bytes!(w)
end

decode(c::SignSGD, bytes, n, layout) =
    decode_buckets(bytes, n, c.bucket, 1, "sign") do r, s
        readbits!(r, 1, "the signs") == 1 ? -s : s
    end

"""
    Ternary(; bucket = $BUCKET)

Send each value as −s, 0 or s, where s is the largest magnitude in its `bucket`, drawn so
that the value is right in expectation: TernGrad (Wen et al. 2017, arXiv:1705.07878,
Equation 3). A byte holds five values. There is no error feedback: the error may exceed the
update itself, so a residual would grow.

```julia
Federated(case_study_cnn(); rules = (Ternary(),))
```
"""
struct Ternary <: Compressor
    bucket::Int
    Ternary(; bucket = BUCKET) = (checkbucket(bucket, "ternary"); new(bucket))
end

feedback(::Ternary) = false

const TRITS = 5      # 3^5 = 243 ≤ 256

function encode(c::Ternary, v, rng, layout)
    n = length(v)
    w = Writer(4 * cld(n, c.bucket) + cld(n, TRITS))
    scales = [maximum(abs, view(v, b)) for b in buckets(n, c.bucket)]
    writefloats!(w, scales)
    trit(i) =
        rand(rng, Float32) * scales[cld(i, c.bucket)] < abs(v[i]) ? (v[i] < 0 ? 2 : 1) : 0
    for from = 1:TRITS:n
        digits = ntuple(k -> from + k - 1 <= n ? trit(from + k - 1) : 0, TRITS)
        writebyte!(w, evalpoly(3, digits))
    end
    return take_bytes!(w)
end

function decode(c::Ternary, bytes, n, layout)
    r = Reader(bytes)
    require_bytes(r, 4 * cld(n, c.bucket) + cld(n, TRITS), "an update by ternary")
    scales = readfloats!(r, cld(n, c.bucket), "the scales")
    v = Vector{Float32}(undef, n)
    for from = 1:TRITS:n
        digits = Int(readbyte!(r, "the digits"))
        for i = from:min(from+TRITS-1, n)
            digits, trit = divrem(digits, 3)
            v[i] = (0.0f0, 1.0f0, -1.0f0)[trit+1] * scales[cld(i, c.bucket)]
        end
        digits == 0 || malformed("a byte of digits is too large")
    end
    check_all_read(r)
    return v
end

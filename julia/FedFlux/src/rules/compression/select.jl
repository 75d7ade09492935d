# The k largest magnitudes, in linear time: a float's bits without the sign order as its magnitude does, so the k-th largest is
# found digit by digit, by counting. No sort, no copy of the values, and no input is slow.

const DIGITS = ((20, 11), (10, 10), (0, 10))      # (shift, bits), from the top of the 31

magnitude(x::Float32) = reinterpret(UInt32, x) & 0x7fffffff

"""
    largest(v, k) -> Vector{Int}

The ascending indices of the `k` values of largest magnitude in the Float32 vector `v`; of equal ones, the first. Takes time
linear in the length, and memory for `k` indices and 2048 counts.

```julia
FedFlux.largest(Float32[3, -5, 1, 5], 2)    # [2, 4]
```
"""
function largest(v::AbstractVector{Float32}, k::Integer)
    0 <= k <= length(v) || fail("the ", k, " largest of ", length(v), " values were asked for")
    indices = Vector{Int}(undef, k)
    k == 0 && return indices
    threshold, equals = kth_magnitude(v, k)
    j = 0
    @inbounds for i in eachindex(v)
        m = magnitude(v[i])
        m < threshold && continue
        m == threshold && (equals -= 1) < 0 && continue
        indices[j+=1] = i
    end
    return indices
end

"The k-th largest magnitude's bits, and how many of those equal to it are among the k."
function kth_magnitude(v, k)
    counts = Vector{Int}(undef, 1 << 11)
    prefix, mask = zero(UInt32), zero(UInt32)      # the digits found, and where they are
    for (shift, bits) in DIGITS
        fill!(counts, 0)
        digit = UInt32(1 << bits - 1)
        @inbounds for x in v
            m = magnitude(x)
            m & mask == prefix && (counts[(m>>shift)&digit+1] += 1)
        end
        d = 1 << bits
        while counts[d] < k
            k -= counts[d]
            d -= 1
        end
        prefix |= UInt32(d - 1) << shift
        mask |= digit << shift
    end
    return prefix, k
end

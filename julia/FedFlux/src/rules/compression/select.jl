# The k largest magnitudes, in linear time. A float's bits without the sign are ordered as
# its magnitude is, so counting finds the k-th largest digit by digit: no sort, no copy of
# the values, and the same time for any input.

const DIGITS = ((20, 11), (10, 10), (0, 10))      # (shift, bits), from the top of the 31

magnitude(x::Float32) = reinterpret(UInt32, x) & 0x7fffffff

"""
    largest(v, k) -> Vector{Int}

The ascending indices of the `k` values of largest magnitude in the Float32 vector `v`; of
equal values, the first. Takes time linear in the length, and memory for `k` indices and
2048 counts.

```julia
FedFlux.largest(Float32[3, -5, 1, 5], 2)    # [2, 4]
```
"""
function largest(v::AbstractVector{Float32}, k::Integer)
    0 <= k <= length(v) ||
        fail("k is ", k, "; expected from 0 to the number of values, ", length(v))
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

"""
The bits of the k-th largest magnitude, and how many values of that magnitude are among the
k largest.
"""
function kth_magnitude(v, k)
    counts = Vector{Int}(undef, 1 << 11)
    prefix, mask = zero(UInt32), zero(UInt32)    # the digits found, and their bits
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

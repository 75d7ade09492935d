# Sparsification: send a fraction of the values (Stich, Cordonnier, Jaggi 2018,
# arXiv:1809.07599).

"The number of values, of `n`, that are sent."
count_kept(fraction, n) = n == 0 ? 0 : clamp(round(Int, fraction * n), 1, n)

checkfraction(fraction, name) =
    0 < fraction <= 1 ||
    fail("fraction of ", name, " is ", fraction, "; expected more than 0 and at most 1")

"""
    TopK(fraction; feedback = true)

Send the `fraction` of the values that are largest in magnitude, with their indices
(arXiv:1809.07599, top_k). At 1 % this takes about 5.3 bytes per value sent, 1/75 of the
whole. `feedback`: add what was not sent to the next update.

```julia
Federated(case_study_cnn(); rules = (TopK(0.01),))
```
"""
struct TopK <: Compressor
    fraction::Float64
    feedback::Bool
    function TopK(fraction; feedback = true)
        checkfraction(fraction, "topk")
        return new(fraction, feedback)
    end
end

construct(::Val{:rule}, ::Val{:topk}; fraction, feedback) = TopK(fraction; feedback)
feedback(c::TopK) = c.feedback

function encode(c::TopK, v, rng, layout)
    indices = largest(v, count_kept(c.fraction, length(v)))
    w = Writer(6 * length(indices) + 16)
    writeindices!(w, indices, length(v))
    writefloats!(w, view(v, indices))
    return take_bytes!(w)
end

function decode(c::TopK, bytes, n, layout)
    r = Reader(bytes)
    indices = readindices!(r, n, count_kept(c.fraction, n))
    values = readfloats!(r, length(indices), "the values")
    check_all_read(r)
    return scatter_values(values, indices, n)
end

function scatter_values(values, indices, n)
    v = zeros(Float32, n)
    v[indices] = values
    return v
end

"""
    RandK(fraction; feedback = true)

Send a random `fraction` of the values (arXiv:1809.07599, rand_k). The indices are drawn
from a key of eight bytes, and only the key is sent. Without `feedback` the values are
scaled by n/k, so that the update is right in expectation.

```julia
Federated(case_study_cnn(); rules = (RandK(0.05),))
```
"""
struct RandK <: Compressor
    fraction::Float64
    feedback::Bool
    function RandK(fraction; feedback = true)
        checkfraction(fraction, "randk")
        return new(fraction, feedback)
    end
end

construct(::Val{:rule}, ::Val{:randk}; fraction, feedback) = RandK(fraction; feedback)
feedback(c::RandK) = c.feedback

function encode(c::RandK, v, rng, layout)
    key = rand(rng, UInt64)
    indices = random_indices(key, count_kept(c.fraction, length(v)), length(v))
    scale = c.feedback ? 1.0f0 : Float32(length(v) / max(1, length(indices)))
    w = Writer(4 * length(indices) + 8)
    foreach(k -> writebyte!(w, key >> 8k), 0:7)
    writefloats!(w, (scale * v[i] for i in indices))
    return take_bytes!(w)
end

function decode(c::RandK, bytes, n, layout)
    k = count_kept(c.fraction, n)
    r = Reader(bytes)
    require_bytes(r, 8 + 4k, "an update by randk")
    key = readword(UInt64, bytes, 0)
    r.at = 8
    values = readfloats!(r, k, "the values")
    check_all_read(r)
    return scatter_values(values, random_indices(key, k, n), n)
end

"""
`k` distinct indices in 1:n from a key, in ascending order: Floyd's sampling (Bentley and
Floyd 1987), in time O(k log k).
"""
function random_indices(key::UInt64, k, n)
    rng = Stream(key)
    chosen = Set{Int}()
    for j = (n-k+1):n
        i = 1 + below!(rng, j)
        push!(chosen, i in chosen ? j : i)
    end
    return sort!(collect(chosen))
end

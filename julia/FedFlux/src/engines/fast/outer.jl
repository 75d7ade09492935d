# The gradients of single examples: where they are kept, and their norms.

"""
    ExampleValues(b::Builder, size)

Room for the gradient of `size` parameters for each example.
"""
struct ExampleValues
    at::Int
    size::Int
end

function ExampleValues(b::Builder, size)
    from = b.examples
    b.examples += cld(size * b.maxbatch, 16) * 16
    return ExampleValues(from, size)
end

"The address of the gradient of example `n` (from 0)."
@inline address(p::Pass, v::ExampleValues, n) = at(p.examples, v.at + n * v.size)

"""
    ExampleWeights(b::Builder, K, M, T; groups = 1, keep = true)

How to find the norm of one example's gradient of (M, K) weights, in each of the `groups`: a
sum of outer products over the `T` columns of the example (its pixels or time steps). Either
by the gradient itself, or by the inner products of the columns, which is less work if
the columns are few (Goodfellow 2015, arXiv:1510.01799; Li et al. 2022, arXiv:2110.05679,
section 4). The gradient is kept for each example, if `keep`; it is then no larger than the
columns are.
"""
struct ExampleWeights
    K::Int
    M::Int
    T::Int
    inner::Bool
    values::ExampleValues     # of size 0 where nothing is kept
end

function ExampleWeights(b::Builder, K, M, T; groups = 1, keep = true)
    # Two loads per product, where the tiles of the gradient need few; but those are also
    # stored, and squared.
    inner = T * (T + 1) * (K + M) < K * M * (T + 4)
    kept = ExampleValues(b, keep && !inner ? K * M * groups : 0)
    return ExampleWeights(K, M, T, inner, kept)
end

"Whether each example's gradient is kept."
iskept(o::ExampleWeights) = o.values.size > 0

"""
    outer_norm!(dw, o, tiling, runs, dy, x, yoffsets, xoffsets) -> Float64

The squared norm of the gradient of one group for one example, as in
[`outer_macrokernel!`](@ref). Writes the gradient to `dw`, unless the inner products do.
"""
function outer_norm!(dw, o::ExampleWeights, tiling, runs, dy, x, yoffsets, xoffsets)
    if o.inner
        sum, largest = inner_norm(o, runs, dy, x, yoffsets, xoffsets)
        # Unrelated columns give largest/T. Where they cancel, so do the digits of the sum.
        sum * o.T >= 0.1 * largest && return sum
    end
    outer_macrokernel!(
        tiling, runs, dw, o.M, dy, 0, x, 0, pointer(xoffsets), pointer(yoffsets), o.T, 1,
        false
    )
    return sum_of_squares(dw, o.K * o.M)
end

"""
`‖Σ dₜxₜᵀ‖² = Σ (dₛ·dₜ)(xₛ·xₜ)`, and the value that it would have if all columns pointed the
same way.
"""
function inner_norm(o::ExampleWeights, runs, dy, x, yoffsets, xoffsets)
    whole = (Run(0, o.M),)
    total, extent = 0.0, 0.0
    for t = 1:o.T
        d, a = at(dy, yoffsets[t]), at(x, xoffsets[t])
        for s = 1:4:t
            nth(i) = min(s + i - 1, t)
            ds = ntuple(i -> at(dy, yoffsets[nth(i)]), Val(4))
            as = ntuple(i -> at(x, xoffsets[nth(i)]), Val(4))
            products = map(inner_product, dots(d, ds, whole), dots(a, as, runs))
            for i = 1:min(4, t-s+1)
                product = products[i]
                if s + i - 1 == t
                    total += product
                    extent += sqrt(product)
                else
                    total += 2product
                end
            end
        end
    end
    return total, extent^2
end

inner_product(a, b) = Float64(a) * Float64(b)

"The inner products of the `runs` at `a` with those at each of four addresses."
@inline function dots(a::Ptr32, b::NTuple{4,Ptr32}, runs)
    sums = ntuple(_ -> zero(Vec{16,Float32}), Val(4))
    for run in runs
        k, last = Int(run.at), Int(run.at) + Int(run.len)
        while k + 16 <= last
            sums = multiply_add(sums, a, b, k, nothing)
            k += 16
        end
        k < last && (sums = multiply_add(sums, a, b, k, lane_mask(Val(16), last - k)))
    end
    return map(sum, sums)
end

@inline function multiply_add(sums, a, b, k, mask)
    v = load(Val(16), at(a, k), mask)
    return map((sum, p) -> muladd(v, load(Val(16), at(p, k), mask), sum), sums, b)
end

"The sum of the squares of `n` floats."
function sum_of_squares(x::Ptr32, n)
    sums = ntuple(_ -> zero(Vec{16,Float32}), Val(4))
    k = 0
    while k + 64 <= n
        v = four_vectors(at(x, k))
        sums = map(muladd, v, v, sums)
        k += 64
    end
    total = sum(sum, sums)
    for i = k:(n-1)
        total += abs2(unsafe_load(x, i + 1))
    end
    return Float64(total)
end

@inline four_vectors(x) = ntuple(i -> load(Val(16), at(x, 16 * (i - 1)), nothing), Val(4))

"Multiply `n` floats by `factor`."
function scale_values!(x::Ptr32, factor, n)
    each_vector(Val(16), n) do i, width, mask
        store(factor * load(width, at(x, i), mask), at(x, i), mask)
    end
end

"""
The sum of the kept gradients of the examples lo:hi, each times its factor, at `g`; added to
what is there if `accumulate`.
"""
function weighted_sum!(g, p::Pass, v::ExampleValues, factors, lo, hi, accumulate)
    each_vector(Val(16), v.size) do i, width, mask
        to = at(g, i)
        sum = accumulate ? load(width, to, mask) : zero_vector(width)
        for n = lo:hi
            value = load(width, at(address(p, v, n), i), mask)
            sum = muladd(factors[n+1], value, sum)
        end
        store(sum, to, mask)
    end
end

# A count sketch: a small table that stands for a vector, linear in it, so that sketches are averaged like updates.

"""
    CountSketch(rows = 5, cols = 1000, k = 500)

FetchSGD (Rothchild et al. 2020, arXiv:2007.07682, Algorithm 1, without momentum): a client sends a table of `rows` × `cols`
sums, in each row of which every value is added, with a random sign, to one random column. The server averages the tables,
adds what the last rounds left, and takes the `k` values that the table's estimates (the median over the rows) show as the
largest; but only those that stand out of the noise, twice ‖v‖/√cols, since taking noise for values would make the error
grow from round to round. Clients keep nothing, so it suits those that take part once. It needs updates with a few large
values: of many small ones that are alike it sees little.

```julia
Federated(case_study_cnn(); rules = (CountSketch(5, 2000, 500),))
```
"""
struct CountSketch <: Compressor
    rows::Int
    cols::Int
    k::Int
    function CountSketch(rows = 5, cols = 1000, k = 500)
        for (name, value, limit) in (("rows", rows, 99), ("cols", cols, 1 << 24), ("k", k, 1 << 24))
            1 <= value <= limit || fail(name, " of sketch is ", value, "; expected from 1 to ", limit)
        end
        return new(rows, cols, k)
    end
end

construct(::Val{:rule}, ::Val{:sketch}; rows, cols, k) = CountSketch(rows, cols, k)

init(c::CountSketch, θ) = (zeros(Float32, c.rows * c.cols), nothing)

# The table is a slot of its own; delta, which the server expects, is known to be zero and costs nothing.
client!(c::CountSketch, s, u, ctx) = (s.private, (; u..., delta = Masked(zeros(Float32, length(u.delta)), Int[]), sketch = table(c, u.delta)))

function server!(c::CountSketch, s, ū, ctx)
    error = s.shared .+ ū.sketch
    Δ = untable(c, error, length(ctx.θ))
    error .-= table(c, Δ)
    return error, (; ū..., delta = Δ)
end

encode(c::CountSketch, v, rng, layout) = (w = Writer(); writefloats!(w, table(c, v)); finish(w))

function decode(c::CountSketch, bytes, n, layout)
    r = Reader(bytes)
    t = readfloats!(r, c.rows * c.cols, "the table")
    finish(r)
    return untable(c, t, n)
end

"Where value `i` goes in row `row`: the column, and the sign. Everyone hashes alike."
@inline function place(c::CountSketch, row, i)
    h = mix64(UInt64(i) + UInt64(row) * GAMMA)
    return Int(((h >> 32) * UInt64(c.cols)) >> 32) + 1, isodd(h) ? 1.0f0 : -1.0f0
end

function table(c::CountSketch, v)
    t = zeros(Float32, c.cols, c.rows)
    for row in 1:c.rows, i in eachindex(v)
        v[i] == 0 && continue
        col, sign = place(c, row, i)
        t[col, row] += sign * v[i]
    end
    return vec(t)
end

"The k largest of the `n` estimates that the table `t` gives, where they stand out of the noise; the others are zero."
function untable(c::CountSketch, t, n)
    t = reshape(t, c.cols, c.rows)
    votes = Vector{Float32}(undef, c.rows)
    estimates = Vector{Float32}(undef, n)
    for i in 1:n
        for row in 1:c.rows
            col, sign = place(c, row, i)
            votes[row] = sign * t[col, row]
        end
        estimates[i] = median!(votes)
    end
    noise = 2 * sqrt(sum(abs2, t) / (c.rows * c.cols))
    indices = filter(i -> abs(estimates[i]) > noise, largest(estimates, min(c.k, n)))
    return scattered(estimates[indices], indices, n)
end

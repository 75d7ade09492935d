# A count sketch: a small table that stands for a vector. It is linear in the vector, so
# sketches are averaged like updates.

"""
    CountSketch(rows = 5, cols = 1000, k = 500)

FetchSGD (Rothchild et al. 2020, arXiv:2007.07682, Algorithm 1, without momentum). A client
sends a table of `rows` × `cols` sums: in each row every value is added, with a random sign,
to one random column. The server averages the tables, adds the error of the last rounds, and
estimates each value as the median over the rows. It takes the `k` largest estimates, but
only those above the noise, twice ‖v‖/√cols: mistaking noise for values would make the error
grow from round to round.

Clients keep no state, so the sketch suits clients that take part once. It works for updates
with a few large values, and poorly for updates with many small values of similar size.

```julia
Federated(case_study_cnn(); rules = (CountSketch(5, 2000, 500),))
```
"""
struct CountSketch <: Compressor
    rows::Int
    cols::Int
    k::Int
    function CountSketch(rows = 5, cols = 1000, k = 500)
        limits = (("rows", rows, 99), ("cols", cols, 1 << 24), ("k", k, 1 << 24))
        for (name, value, limit) in limits
            1 <= value <= limit ||
                fail(name, " of sketch is ", value, "; expected from 1 to ", limit)
        end
        rows * cols <= 1 << 26 ||
            fail("rows and cols of sketch are ", rows, " and ", cols, ", a table of ",
                rows * cols, " numbers; expected at most ", 1 << 26)
        return new(rows, cols, k)
    end
end

construct(::Val{:rule}, ::Val{:sketch}; rows, cols, k) = CountSketch(rows, cols, k)

init(c::CountSketch, θ) = (zeros(Float32, c.rows * c.cols), nothing)

# The table is a vector of its own. The server expects a delta too: it is zero and costs no
# bytes.
function client!(c::CountSketch, s, u, ctx)
    delta = Masked(zeros(Float32, length(u.delta)), Int[])
    return s.private, Update(u; delta, sketch = table(c, u.delta))
end

kept(::CountSketch, shared, name, known) = name === :delta ? Int[] : known
nobody_sent(c::CountSketch, u) = Update(u; sketch = zeros(Float32, c.rows * c.cols))

function server!(c::CountSketch, s, ū, ctx)
    error = s.shared .+ ū.sketch
    Δ = untable(c, error, length(ctx.θ), ctx.known)
    error .-= table(c, Δ)
    return error, Update(ū; delta = Δ)
end

function encode(c::CountSketch, v, rng, layout)
    w = Writer()
    writefloats!(w, table(c, v))
    return take_bytes!(w)
end

function decode(c::CountSketch, bytes, n, layout)
    r = Reader(bytes)
    t = readfloats!(r, c.rows * c.cols, "the table")
    check_all_read(r)
    return untable(c, t, n)
end

"The column and the sign of value `i` in row `row`. Clients and server use the same hash."
@inline function hash_bucket(c::CountSketch, row, i)
    h = mix64(UInt64(i) + UInt64(row) * GAMMA)
    return Int(((h >> 32) * UInt64(c.cols)) >> 32) + 1, isodd(h) ? 1.0f0 : -1.0f0
end

function table(c::CountSketch, v)
    t = zeros(Float32, c.cols, c.rows)
    for row = 1:c.rows, i in eachindex(v)
        v[i] == 0 && continue
        col, sign = hash_bucket(c, row, i)
        t[col, row] += sign * v[i]
    end
    return vec(t)
end

"""
The k largest of the `n` estimates of table `t`, if above the noise. The others are zero,
and all but those of the indices `known`, if that isn't `nothing`.
"""
function untable(c::CountSketch, t, n, known = nothing)
    t = reshape(t, c.cols, c.rows)
    votes = Vector{Float32}(undef, c.rows)
    estimates = zeros(Float32, n)
    for i in something(known, 1:n)
        for row = 1:c.rows
            col, sign = hash_bucket(c, row, i)
            votes[row] = sign * t[col, row]
        end
        estimates[i] = median!(votes)
    end
    noise = 2 * sqrt(sum(abs2, t) / (c.rows * c.cols))
    indices = filter(i -> abs(estimates[i]) > noise, largest(estimates, min(c.k, n)))
    return scatter_values(estimates[indices], indices, n)
end

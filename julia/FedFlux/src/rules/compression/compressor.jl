# Compressors: rules that send an update in fewer bytes and keep what was lost for the next.

"""
    Compressor <: Rule

A rule that encodes each vector of an update that is as long as the parameters. A compressor
implements

- `encode(c, v, rng, layout) -> Vector{UInt8}`: the bytes of `v`; all randomness comes from
  `rng`;
- `decode(c, bytes, n, layout) -> Vector{Float32}`: the `n` values. It throws a
  [`FedFluxError`](@ref) for malformed bytes and allocates no more memory than `n` values
  and the bytes need;
- `feedback(c)`: whether what is lost is added to the next update;
- `positional(c)`: whether the compressor must know which array a value belongs to.

With error feedback (Seide et al. 2014; Karimireddy et al. 2019, arXiv:1901.09847, Algorithm
2; Stich et al. 2018, arXiv:1809.07599) a client keeps a residual e for each vector u: it
sends C(u + e), and e becomes u + e − C(u + e).

Statistics and metrics are sent as they are. An update that is not finite is not encoded:
the server rejects it, and the residual does not change.
"""
abstract type Compressor <: Rule end

feedback(::Compressor) = true
positional(::Compressor) = false

"""
    encode(c, v; rng = Stream(0, :rules), layout = Layout(length(v))) -> Vector{UInt8}

Encode the vector `v` with compressor `c`. All randomness comes from `rng`. `layout` tells
which arrays `v` consists of, for compressors that look at matrices.

```julia
length(encode(TopK(0.01), randn(Float32, 10_000)))   # about 530
```
"""
function encode(c::Compressor, v::AbstractVector; rng = Stream(0, :rules),
    layout = Layout(length(v)))
    return encode(c, v, rng, layout)
end

"""
    decode(c, bytes, n; layout = Layout(n)) -> Vector{Float32}

Decode the `bytes` of compressor `c` into `n` values. Throws a [`FedFluxError`](@ref) if the
bytes are not an encoded update of `n` values.

```julia
v = randn(Float32, 10_000)
decode(TopK(0.01), encode(TopK(0.01), v), 10_000)    # the 100 largest, the others zero
```
"""
function decode(c::Compressor, bytes::Vector{UInt8}, n::Integer; layout = Layout(n))
    n >= 0 || fail("n is ", n, "; expected the number of values in the update")
    return decode(c, bytes, n, layout)
end

"The layout of one plain vector of `n` values."
Layout(n::Integer) = Layout([Slot("values", (n,), 1:n)], n)

init(::Compressor, θ) = (nothing, (;))

function client!(c::Compressor, s, u, ctx)
    allfinite(u) || return s.private, u
    (; rng, layout) = ctx
    delta, lost = compress(c, u.delta, get(s.private, :delta, nothing), rng, layout)
    u = map_parameters(u, layout.n) do name, v
        name === :delta ? delta : first(compress(c, v, nothing, rng, layout))
    end
    return feedback(c) ? (; delta = lost) : s.private, u
end

"""
    compress(c, v, residual, rng, layout) -> (encoded, residual)

Encode `v` plus the last `residual` (`nothing` if there is none), and return what was lost
as the new residual. Only the values of a [`Masked`](@ref) vector that are sent are encoded.
"""
function compress(c::Compressor, v::AbstractVector, residual, rng, layout)
    wanted = residual === nothing ? Vector{Float32}(v) : v .+ residual
    bytes = encode(c, wanted, rng, layout)
    values = decode(c, bytes, length(v), layout)
    wanted .-= values
    return Encoded(values, bytes), wanted
end

function compress(c::Compressor, v::Masked, residual, rng, layout)
    positional(c) && return compress_in_place(c, v, residual, rng, layout)
    previous = residual === nothing ? nothing : residual[v.kept]
    part, lost = compress(c, v.values[v.kept], previous, rng, Layout(length(v.kept)))
    values, rest = copy(v.values), zero(v.values)
    values[v.kept] = part.values
    rest[v.kept] = lost
    return Encoded(values, part.bytes), rest
end

function compress_in_place(c, v::Masked, residual, rng, layout)
    sent = zero(v.values)
    sent[v.kept] = v.values[v.kept]
    encoded, lost = compress(c, sent, residual, rng, layout)
    values, rest = copy(v.values), zero(v.values)
    values[v.kept] = encoded.values[v.kept]
    rest[v.kept] = lost[v.kept]
    return Encoded(values, encoded.bytes), rest
end

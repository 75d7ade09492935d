# Compressors: rules that send an update in fewer bytes, and remember what was lost.

"""
    Compressor <: Rule

A rule that sends each slot of an update (as long as the parameters) encoded. A compressor implements

- `encode(c, v, rng, layout) -> Vector{UInt8}`: the bytes of `v`; what is random is drawn from `rng`;
- `decode(c, bytes, n, layout) -> Vector{Float32}`: `n` values back; it refuses malformed bytes with a
  [`FedFluxError`](@ref) and takes no more memory than `n` values and the bytes ask for;
- `feedback(c)`: whether what is lost is added to the next update;
- `positional(c)`: whether it must know which array a value belongs to.

With error feedback (Seide et al. 2014; Karimireddy et al. 2019, arXiv:1901.09847, Algorithm 2; Stich et al. 2018,
arXiv:1809.07599) a client keeps a residual e for each slot: it sends C(u + e), and e becomes u + e − C(u + e).

An update that is not finite is sent as it is: the server refuses it, and the residual stays sound.
"""
abstract type Compressor <: Rule end

place(::Compressor) = 2
feedback(::Compressor) = true
positional(::Compressor) = false

"""
    encode(c, v; rng = Stream(0, :rules), layout = Layout(length(v))) -> Vector{UInt8}

The bytes in which compressor `c` sends the vector `v`. `rng` draws what is random; `layout` says which arrays `v` is made
of, for those compressors that look at matrices.

```julia
length(encode(TopK(0.01), randn(Float32, 10_000)))   # about 530
```
"""
encode(c::Compressor, v::AbstractVector; rng = Stream(0, :rules), layout = Layout(length(v))) = encode(c, v, rng, layout)

"""
    decode(c, bytes, n; layout = Layout(n)) -> Vector{Float32}

The `n` values that the `bytes` of compressor `c` stand for. Throws a [`FedFluxError`](@ref) where the bytes can't be an
encoded update of `n` values.

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
    all(v -> all(isfinite, v), values(u)) || return s.private, u
    names = filter(name -> length(u[name]) == ctx.layout.n, keys(u))
    sent = map(name -> compress(c, u[name], get(s.private, name, nothing), ctx.rng, ctx.layout), names)
    private = feedback(c) ? NamedTuple{names}(map(last, sent)) : s.private
    return private, merge(u, NamedTuple{names}(map(first, sent)))
end

"""
    compress(c, v, residual, rng, layout) -> (slot, residual)

`v` with the `residual` of the last time (`nothing`: none), encoded, and what that lost. Of a [`Masked`](@ref) vector only
the values that are sent are encoded.
"""
function compress(c::Compressor, v::AbstractVector, residual, rng, layout)
    wanted = residual === nothing ? Vector{Float32}(v) : v .+ residual
    bytes = encode(c, wanted, rng, layout)
    values = decode(c, bytes, length(v), layout)
    wanted .-= values
    return Coded(values, bytes), wanted
end

function compress(c::Compressor, v::Masked, residual, rng, layout)
    positional(c) && return compress_in_place(c, v, residual, rng, layout)
    part, lost = compress(c, v.values[v.kept], residual === nothing ? nothing : residual[v.kept], rng, Layout(length(v.kept)))
    values, rest = copy(v.values), zero(v.values)
    values[v.kept] = part.values
    rest[v.kept] = lost
    return Coded(values, part.bytes), rest
end

function compress_in_place(c, v::Masked, residual, rng, layout)
    sent = zero(v.values)
    sent[v.kept] = v.values[v.kept]
    coded, lost = compress(c, sent, residual, rng, layout)
    values, rest = copy(v.values), zero(v.values)
    values[v.kept] = coded.values[v.kept]
    rest[v.kept] = lost[v.kept]
    return Coded(values, coded.bytes), rest
end

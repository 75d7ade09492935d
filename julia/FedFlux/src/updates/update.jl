# What a client sends to the server, and what the server makes of all clients' updates.

"""
    Update(; delta, vectors..., stats = Float32[], metrics = (;))
    Update(u; changes...)

What a client sends, in three parts that are treated differently. The second form gives `u`
with vectors replaced or added, other statistics, or further metrics.

- `vectors`: the vectors that are averaged: `delta = w - θ`, and what rules add, such as
  SCAFFOLD's `dc`. Norms, distances, medians and clips look at these. `u.delta` reads one.
- `stats`: the change of what travels untrained, such as BatchNorm's running statistics;
  empty if the model has none.
- `metrics`: what a client reports beside them, as short Float32 vectors: FedNova's amount
  of work, AFL's losses. Every aggregator takes their weighted mean.

Each part may be a vector that knows its cost on the wire ([`Encoded`](@ref),
[`Masked`](@ref)); see [`wire_bytes`](@ref).

```julia
u = Update(; delta = Float32[1, 2])
Update(u; delta = u.delta ./ 2, metrics = (; work = Float32[2])).delta   # [0.5, 1.0]
```
"""
struct Update{V<:NamedTuple,S<:AbstractVector{Float32},M<:NamedTuple}
    vectors::V
    stats::S
    metrics::M
end

Update(; stats = Float32[], metrics = (;), vectors...) =
    Update(values(vectors), stats, metrics)

Update(u::Update; stats = u.stats, metrics = (;), vectors...) =
    Update(merge(u.vectors, values(vectors)), stats, merge(u.metrics, metrics))

Base.getproperty(u::Update, name::Symbol) =
    name === :vectors || name === :stats || name === :metrics ? getfield(u, name) :
    getfield(getfield(u, :vectors), name)

"The vectors of all three parts, in a tuple."
parts(u::Update) = (values(u.vectors)..., u.stats, values(u.metrics)...)

"Apply `f` to every vector of an update, or of several updates of one shape."
Base.map(f, u::Update, others::Update...) =
    Update(map(f, u.vectors, map(o -> o.vectors, others)...),
        f(u.stats, map(o -> o.stats, others)...),
        map(f, u.metrics, map(o -> o.metrics, others)...))

"""
`u` with `f(name, v)` in the place of each vector `v` that has `n` values: those as long as
the parameters.
"""
function map_parameters(f, u::Update, n)
    names = filter(name -> length(u.vectors[name]) == n, keys(u.vectors))
    return Update(u; NamedTuple{names}(map(name -> f(name, u.vectors[name]), names))...)
end

Base.:(==)(a::Update, b::Update) =
    a.vectors == b.vectors && a.stats == b.stats && a.metrics == b.metrics

"Names and lengths of all vectors: equal for updates that can be averaged."
shape(u::Update) = (; vectors = map(length, u.vectors), stats = length(u.stats),
    metrics = map(length, u.metrics))

allfinite(u::Update) = all(allfinite, parts(u))

function Base.show(io::IO, u::Update)
    names = join(("$name ($(length(v)))" for (name, v) in pairs(u.vectors)), ", ")
    print(io, "Update(", names)
    isempty(u.stats) || print(io, "; ", length(u.stats), " statistics")
    isempty(u.metrics) || print(io, "; metrics ", join(keys(u.metrics), ", "))
    print(io, ")")
end

"""
    Message(client, round, weight, update)

A client's message to the server: its decoded update, the round it is for, and the weight
that the client claims.
"""
struct Message{U}
    client::Int
    round::Int
    weight::Float64
    update::U
end

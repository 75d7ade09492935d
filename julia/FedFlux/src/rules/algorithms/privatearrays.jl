# Rules that keep some arrays of the model with the client: FedPer, FedRep and FedBN.

"""
    PrivateArrays

A rule with arrays that never leave the client, given by `local_arrays(r)`, a
[`LocalArrays`](@ref). A client puts its own into the model that it receives, and sends the
others only. The global model keeps the initial values in their place.
"""
abstract type PrivateArrays <: Rule end

function local_arrays end

"""
The arrays that stay with a client: their `ranges` in the flat vector, the indices of all
`shared` values, and whether the statistics are private too.
"""
struct LocalArrays
    ranges::Vector{UnitRange{Int}}
    shared::Vector{Int}
    stats::Bool
end

LocalArrays() = LocalArrays([], [], false)      # before `prepare` sees the model

"""
The arrays for whose slots `isprivate(slot)` holds. Throws a [`FedFluxError`](@ref) if
none or all are.
"""
function LocalArrays(isprivate, rule, layout::Layout; stats = false)
    ranges = [s.range for s in layout.slots if isprivate(s)]
    shared = concatenated(Int, (s.range for s in layout.slots if !isprivate(s)))
    isempty(ranges) && fail("rule ", rule, " finds no private arrays among ",
        join((s.name for s in layout.slots), ", "))
    isempty(shared) &&
        fail("rule ", rule, " leaves nothing to share: every array would be private")
    return LocalArrays(ranges, shared, stats)
end

"""
Whether a slot belongs to the last `head` layers with parameters; or, if `arrays` is
given, whether its name is one of them or lies below it, as `layers.1.weight` below
`layers.1`.
"""
function in_head(layout::Layout, head, arrays)
    isempty(arrays) || return s -> is_named(s.name, arrays)
    layer(s) = first(rsplit(s.name, '.'; limit = 2))
    layers = unique(map(layer, layout.slots))
    return s -> layer(s) in layers[max(end-head+1, 1):end]
end

"""
A rule whose head, the last `head` layers with parameters or the arrays named `arrays`, is
not shared: `private` holds it.
"""
abstract type HeadRule <: PrivateArrays end

local_arrays(r::HeadRule) = r.private

function prepare(r::T, layout, training) where {T<:HeadRule}
    private = LocalArrays(in_head(layout, r.head, r.arrays), nameof(T), layout)
    return T(map(n -> n === :private ? private : getfield(r, n), fieldnames(T))...)
end

private_views(r::PrivateArrays, v) = (view(v, range) for range in local_arrays(r).ranges)

personalises(::PrivateArrays) = true

receive!(r::PrivateArrays, s, m, ctx, own) = (personal!(r, s.private, m); s.private)

function personal!(r::PrivateArrays, private, m)
    private === nothing && return m         # a client's first round: the global model
    scatter!(private_views(r, m.w), private.w)
    local_arrays(r).stats && copyto!(m.stats, private.stats)
    return m
end

function client!(r::PrivateArrays, s, u, ctx)
    own = local_arrays(r)
    w = gather!(Vector{Float32}(undef, sum(length, own.ranges)), private_views(r, ctx.w))
    private = (; w, stats = own.stats ? copy(ctx.stats) : Float32[])
    return private, without_private(r, u, ctx.layout)
end

"The update without what stays with the client."
function without_private(r::PrivateArrays, u, layout)
    own = local_arrays(r)
    own.stats && fill!(u.stats, 0)
    masked(_, v) = Masked(hide!(r, nothing, v), own.shared)
    return map_parameters(masked, u, layout.n)
end

kept(r::PrivateArrays, shared, name, known) = local_arrays(r).shared

function hide!(r::PrivateArrays, shared, v)
    foreach(part -> fill!(part, 0), private_views(r, v))
    return v
end

# What no client sent may have got noise since.
server!(r::PrivateArrays, s, ū, ctx) =
    (s.shared, local_arrays(r).stats ? Update(ū; stats = zero(ū.stats)) : ū)

publish!(r::PrivateArrays, s, Δ, ctx) =
    (s.shared, Masked(hide!(r, nothing, collect(Δ)), local_arrays(r).shared))

# A client needs its own arrays no more, once it has them.
download_bytes(r::PrivateArrays, s, bytes, ctx) =
    s.private === nothing ? bytes : min(bytes, 4 * length(local_arrays(r).shared))

# Rules that keep some arrays of the model with the client: FedPer, FedRep and FedBN.

"""
    PrivateArrays

A rule whose field `held` says which arrays of the model never leave the client: it puts its own into the model that it receives,
and sends the others only. The global model keeps the initial values in their place.
"""
abstract type PrivateArrays <: Rule end

"Which arrays are private: their `ranges` in the flat vector, the indices of all others, and whether statistics are private too."
struct Held
    ranges::Vector{UnitRange{Int}}
    others::Vector{Int}
    stats::Bool
end

"The arrays that `isprivate(slot)` names; throws a [`FedFluxError`](@ref) for none and for all."
function Held(isprivate, rule, layout::Layout; stats = false)
    ranges = [s.range for s in layout.slots if isprivate(s)]
    others = reduce(vcat, (s.range for s in layout.slots if !isprivate(s)); init = Int[])
    isempty(ranges) && fail("rule ", rule, " finds no private arrays among ", join((s.name for s in layout.slots), ", "))
    isempty(others) && fail("rule ", rule, " leaves nothing to share: every array would be private")
    return Held(ranges, others, stats)
end

"Whether a slot belongs to the last `head` layers with parameters, or, where `arrays` names beginnings, begins with one of them."
function in_head(layout::Layout, head, arrays)
    isempty(arrays) || return s -> any(a -> startswith(s.name, a), arrays)
    layer(s) = first(rsplit(s.name, '.'; limit = 2))
    layers = unique(map(layer, layout.slots))
    return s -> layer(s) in layers[max(end - head + 1, 1):end]
end

private_views(r::PrivateArrays, v) = (view(v, range) for range in r.held.ranges)

personalises(::PrivateArrays) = true

receive!(r::PrivateArrays, s, m, ctx, own) = (personal!(r, s.private, m); s.private)

function personal!(r::PrivateArrays, private, m)
    private === nothing && return m         # a client's first round: what it received
    scatter!(private_views(r, m.w), private.w)
    r.held.stats && copyto!(m.stats, private.stats)
    return m
end

function client!(r::PrivateArrays, s, u, ctx)
    w = gather!(Vector{Float32}(undef, sum(length, r.held.ranges)), private_views(r, ctx.w))
    private = (; w, stats = r.held.stats ? copy(ctx.stats) : Float32[])
    foreach(v -> fill!(v, 0), private_views(r, u.delta))
    r.held.stats && haskey(u, :stats) && fill!(u.stats, 0)
    return private, (; u..., delta = Masked(u.delta, r.held.others))
end

received(::PrivateArrays, s, bytes, ctx) = s.private === nothing ? bytes : bytes - sizeof(s.private.w)

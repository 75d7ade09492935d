# A model's trainable arrays as one flat vector, in the order of Optimisers.trainables, and
# back.

"One trainable array: its dotted name, its size, and its range in the flat vector."
struct Slot
    name::String
    dims::Dims
    range::UnitRange{Int}
end

zeros32(n) = zeros(Float32, n)

"""
    Layout(model, freeze = String[])

The position of each trainable array of a Flux `model` in the flat vector of its parameters:
`slots`, and the length `n` of the vector. Arrays that `freeze` names are not in it (see
[`freeze!`](@ref)). Throws a [`FedFluxError`](@ref) for a model without parameters, or with
parameters that are not Float32 arrays, and for a name that the model doesn't have.

```julia
Layout(Chain(Dense(2 => 3))).slots[1]   # layers.1.weight, (3, 2), 1:6
```
"""
struct Layout
    slots::Vector{Slot}
    n::Int
    frozen::Vector{String}     # names of what stays as it is
end
Layout(slots::Vector{Slot}, n) = Layout(slots, n, String[])

function Layout(model, freeze = String[])
    slots = Slot[]
    n = 0
    check_names(model, freeze)
    for (path, a) in Optimisers.trainables(model; path = true)
        name = join(path.keys, '.')
        is_named(name, freeze) && continue
        a isa AbstractArray{Float32} ||
            fail("parameter ", name, " is a ", typeof(a),
                "; FedFlux trains Float32 arrays: convert the model with `f32(model)`")
        push!(slots, Slot(name, size(a), (n+1):(n+length(a))))
        n += length(a)
    end
    n > 0 || isempty(freeze) ||
        fail("freeze is ", join(freeze, ", "), ", which leaves nothing to train")
    n > 0 ||
        fail("the model has no trainable parameters: expected a Flux model such as ",
            "Chain(Dense(2 => 1)), got ", typeof(model))
    return Layout(slots, n, collect(String, freeze))
end

Base.show(io::IO, l::Layout) =
    print(io, "Layout(", length(l.slots), " arrays, ", l.n, " parameters)")

"Copy `arrays`, one after the other, into the vector `flat`."
function gather!(flat::AbstractVector, arrays)
    at = 1
    for a in arrays
        copyto!(flat, at, a, 1, length(a))
        at += length(a)
    end
    return flat
end

"Copy the vector `flat` into `arrays`, one after the other."
function scatter!(arrays, flat::AbstractVector)
    at = 1
    for a in arrays
        copyto!(a, 1, flat, at, length(a))
        at += length(a)
    end
    return arrays
end

"The ranges of these lengths, one after the other from 1 on."
function consecutive(lengths)
    stops = cumsum(collect(Int, lengths))
    return [(stop-n+1):stop for (stop, n) in zip(stops, lengths)]
end

"""
    concatenated(T, lists) -> Vector{T}

The elements of all `lists`, one list after the other, in a time that is linear in their
number. A fold of vcat copies all elements before for each list.
"""
function concatenated(::Type{T}, lists) where {T}
    all = T[]
    foreach(list -> append!(all, list), lists)
    return all
end

"Arrays of one size, but for their last dimension, joined along that."
function join_last(arrays)
    T = mapreduce(eltype, promote_type, arrays)
    n = sum(a -> size(a, ndims(a)), arrays)
    return reshape(concatenated(T, map(vec, arrays)), size(first(arrays))[1:(end-1)]..., n)
end

"The range of each array in the flat vector of all `arrays`."
ranges_of(arrays) =
    IdDict{Any,UnitRange{Int}}(zip(arrays, consecutive(map(length, arrays))))

"The parameters of a model that train, as one new flat vector in model order."
function flatten(model, freeze = String[])
    ps = trained(model, freeze)
    return gather!(Vector{Float32}(undef, sum(length, ps; init = 0)), ps)
end

"The flat vector `θ` (in model order) as a list of new arrays."
arrays(θ::AbstractVector, layout::Layout) =
    Array{Float32}[reshape(θ[s.range], s.dims) for s in layout.slots]

"""
    to_model!(θ, e, w) -> θ

Copy the flat vector `w`, in the engine's order of each array, into `θ` in the model's
order. Engines add methods.
"""
function to_model! end

"""
    to_engine!(w, e, θ) -> w

Copy the flat vector `θ`, in the model's order of each array, into `w` in the engine's
order. Engines add methods.
"""
function to_engine! end

"""
    allfinite(v) -> Bool

Whether a vector holds neither NaN nor Inf.
"""
function allfinite(v::AbstractVector{<:AbstractFloat})
    s = zero(eltype(v))
    @inbounds @simd for i in eachindex(v)
        s += v[i] * zero(eltype(v))      # 0 if v[i] is finite, else NaN: no branch
    end
    return iszero(s)
end
allfinite(v) = all(isfinite, v)

"The hexadecimal SHA-256 of the bytes of `θ` (in model order, little-endian Float32)."
fingerprint(θ::Vector{Float32}) = bytes2hex(sha256(collect(reinterpret(UInt8, htol.(θ)))))

"The last layer of a model, in nested chains too."
final_layer(model) = model
final_layer(model::Chain) = isempty(model.layers) ? model : final_layer(model.layers[end])

# What a slot of an update costs on the wire. A plain vector costs four bytes a value.

"""
    Coded(values, bytes)

A slot as it is sent: the encoded `bytes`, and the `values` that the receiver decodes from them. It reads as the vector of
its values; a rule that computes a new vector from it makes a plain one, which costs four bytes a value again.
"""
struct Coded <: AbstractVector{Float32}
    values::Vector{Float32}
    bytes::Vector{UInt8}
end

"""
    Masked(values, kept)

A slot of which only the `kept` indices are sent, since both sides know the values at the others.
"""
struct Masked <: AbstractVector{Float32}
    values::Vector{Float32}
    kept::Vector{Int}
end

Base.size(v::Union{Coded,Masked}) = size(v.values)
Base.IndexStyle(::Type{<:Union{Coded,Masked}}) = IndexLinear()
Base.@propagate_inbounds Base.getindex(v::Union{Coded,Masked}, i::Int) = v.values[i]
Base.setindex!(v::Union{Coded,Masked}, x, i::Int) =
    fail("a rule changes an update in place after it was encoded; place it before compression and pruning in rules")

"The number of bytes that a slot costs on the wire."
wiresize(v::AbstractVector) = sizeof(v)
wiresize(v::Coded) = length(v.bytes)
wiresize(v::Masked) = 4 * length(v.kept)

"The values of a slot, as a plain vector."
decoded(v::AbstractVector) = v
decoded(v::Union{Coded,Masked}) = v.values

# What a vector of an update costs on the wire. A plain vector costs four bytes per value.

"""
    Encoded(values, bytes)

A vector as it is sent: the encoded `bytes`, and the `values` that the receiver decodes.
It reads as the vector of its values. A rule that computes a new vector from it makes a
plain one, which costs four bytes per value again.
"""
struct Encoded <: AbstractVector{Float32}
    values::Vector{Float32}
    bytes::Vector{UInt8}
end

"""
    Masked(values, kept)

A vector of which only the indices `kept` are sent, since both sides know the other values.
"""
struct Masked <: AbstractVector{Float32}
    values::Vector{Float32}
    kept::Vector{Int}
end

"""
    AlteredVector(values)

A vector that was clipped or got noise on its way: a rule that keeps what was sent of its
own vector can tell that it isn't the one it gave. Costs four bytes per value.
"""
struct AlteredVector <: AbstractVector{Float32}
    values::Vector{Float32}
end

const OnTheWire = Union{Encoded,Masked,AlteredVector}

Base.size(v::OnTheWire) = size(v.values)
Base.IndexStyle(::Type{<:OnTheWire}) = IndexLinear()
Base.@propagate_inbounds Base.getindex(v::OnTheWire, i::Int) = v.values[i]
Base.setindex!(v::OnTheWire, x, i::Int) =
    fail("a rule changes an update in place after it was encoded; ",
        "place it before compression and pruning in rules")

"The number of bytes that a vector, or an update, costs on the wire."
wire_bytes(v::AbstractVector) = sizeof(v)
wire_bytes(v::Encoded) = length(v.bytes)
wire_bytes(v::Masked) = 4 * length(v.kept)
wire_bytes(v::AlteredVector) = 4 * length(v)
wire_bytes(u::Update) = sum(wire_bytes, parts(u))

"The values of a vector, as a plain vector."
decoded(v::AbstractVector) = v
decoded(v::OnTheWire) = v.values

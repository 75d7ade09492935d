# The order of a parameter array's elements, in the engine and in the model.

"""
    Order(dims, flips, perm)

The engine holds a parameter array `a` as
`permutedims(reverse(reshape(a, dims); dims = flips), perm)`.
"""
struct Order
    dims::Dims
    flips::Dims
    perm::Dims
end

function to_engine!(slot::AbstractVector, o::Order, from)
    slot .= vec(permutedims(flipped(reshape(from, o.dims), o.flips), o.perm))
end

function to_model!(slot::AbstractVector, o::Order, from)
    a = permutedims(reshape(from, o.dims[collect(o.perm)]), invperm(o.perm))
    slot .= vec(flipped(a, o.flips))
end

flipped(a, flips) = isempty(flips) ? a : reverse(a; dims = flips)

"The order of an array of size (`rows`, features of `s`): not `nothing` after a flatten."
function column_order(s::Shape, rows)
    return s.flat === nothing ? nothing : Order((rows, s.flat...), (), (1, 4, 2, 3))
end

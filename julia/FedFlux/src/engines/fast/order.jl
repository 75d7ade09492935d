# The order of one parameter array in the engine, and in the model.

"The engine's array is `permutedims(reverse(reshape(a, dims); dims = flips), perm)` of the model's."
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

"How the engine holds an array whose last dimension goes over the features of `s`, and whose first has `rows`."
column_order(s::Shape, rows) = s.flat === nothing ? nothing : Order((rows, s.flat...), (), (1, 4, 2, 3))

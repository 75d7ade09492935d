# The clients' data: one array of samples, and who holds which of them. A client is a view, never a copy.

"""
    Clients(x, y, parts)
    Clients(x, y; owner)
    Clients([(x1, y1), (x2, y2), …])

The training data of all clients: samples `x` and targets `y` along the last dimension, and for each client the indices
of the samples that it holds. The second form makes a client of each `owner`, in sorted order; the third joins arrays that
are already apart.

- `x`: Float32, (W, H, C, N) for images or (features, N).
- `y`: integer labels from 0, or numbers, (N) or (k, N).
- `parts`: one list of indices in 1:N for each client; none empty.
- `owner`: whose each sample is, (N): numbers or names.

Throws a [`FedFluxError`](@ref) where lengths don't fit or a client has no samples.

```julia
Clients(rand(Float32, 8, 6), [0, 1, 0, 1, 0, 1], [1:3, 4:6])
```
"""
struct Clients{X<:AbstractArray,Y<:AbstractArray}
    x::X
    y::Y
    order::Vector{Int}     # client k holds order[starts[k]:starts[k+1]-1]
    starts::Vector{Int}
end

function Clients(x::AbstractArray, y::AbstractArray, parts)
    n = numobs(x)
    numobs(y) == n || fail("there are ", n, " samples and ", numobs(y), " targets; expected as many of each")
    isempty(parts) && fail("there are no clients: expected one list of indices for each client")
    for (k, part) in enumerate(parts)
        isempty(part) && fail("client ", k, " holds no samples; every client needs at least one")
        all(in(1:n), part) || fail("client ", k, " holds sample ", first(Iterators.filter(!in(1:n), part)), "; expected indices in 1:", n)
    end
    return Clients(x, y, reduce(vcat, parts; init = Int[]), cumsum([1; length.(parts)]))
end

Clients(x::AbstractArray, y::AbstractArray; owner) = Clients(x, y, ByOwner(owner)(y, 0, nothing))

function Clients(pairs::AbstractVector{<:Tuple})
    isempty(pairs) && fail("there are no clients: expected one (x, y) for each client")
    sizes = [numobs(y) for (_, y) in pairs]
    stops = cumsum(sizes)
    join_last(arrays) = cat(arrays...; dims = ndims(first(arrays)))
    return Clients(join_last(first.(pairs)), join_last(last.(pairs)), [stop-n+1:stop for (stop, n) in zip(stops, sizes)])
end

Base.length(c::Clients) = length(c.starts) - 1
indices(c::Clients, k) = view(c.order, c.starts[k]:c.starts[k+1]-1)
nsamples(c::Clients, k) = c.starts[k+1] - c.starts[k]

Base.show(io::IO, c::Clients) = print(io, "Clients(", length(c), " clients, ", length(c.order), " samples of size ", size(c.x)[1:end-1], ")")

"How many samples of each class each client holds: an (nclasses, clients) matrix. Where a sample has several labels, each counts."
function labelcounts(c::Clients, nclasses::Integer)
    counts = zeros(Int, nclasses, length(c))
    for k in 1:length(c), i in indices(c, k), label in getobs(c.y, i:i)
        counts[round(Int, label)+1, k] += 1
    end
    return counts
end

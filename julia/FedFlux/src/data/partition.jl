# Splits of a data set among clients. A partitioner is called as
# `partitioner(y, clients, rng)` with the targets, the number of clients and a generator. It
# returns one vector of indices per client.

"""
    IID()

Equal shares of the shuffled data set. If the number of clients does not divide its size,
the first shares are one sample longer. Call it as `IID()(y, clients, rng)`; it returns one
vector of indices per client.

```julia
FedFlux.IID()(rand(0:9, 100), 3, Stream(0, :partition))   # parts of 34, 33 and 33
```
"""
struct IID end

(::IID)(y, clients, rng) = equal_cuts(shuffle!(rng, collect(1:numobs(y))), clients)

"""
Cut `list` into `n` consecutive parts of equal length. If `n` does not divide its length,
the first parts are one longer.
"""
function equal_cuts(list, n)
    share, longer = divrem(length(list), n)
    return [list[range] for range in consecutive([share + (k <= longer) for k = 1:n])]
end

"""
    ByOwner(owner)

Each client holds the samples of one owner, such as a writer, a phone or a hospital. `owner`
lists the owner of every sample. The clients are the owners in sorted order, so `owner`
determines their number.

```julia
FedFlux.ByOwner(["b", "a", "b"])([0, 1, 0], 2, nothing)   # [[2], [1, 3]]
```
"""
struct ByOwner{V<:AbstractVector}
    owner::V
end

construct(::Val{:partition}, ::Val{:owner}) = ByOwner(Nothing[])

function (partitioner::ByOwner)(y, clients, rng)
    check_owner(partitioner.owner, numobs(y))
    parts = Dict{eltype(partitioner.owner),Vector{Int}}()
    for (i, owner) in enumerate(partitioner.owner)
        push!(get!(parts, owner, Int[]), i)
    end
    return [parts[owner] for owner in sort!(collect(keys(parts)))]
end

Clients(x::AbstractArray, y::AbstractArray; owner) =
    Clients(x, y, ByOwner(owner)(y, 0, nothing))

check_owner(owner, n) =
    length(owner) == n ||
    fail("owner lists the owners of ", length(owner), " samples, and there are ", n,
        " for training; expected one owner per sample")

"The partitioner for this data set: `ByOwner` takes the owners from the data."
for_data(partitioner, owner) = partitioner
function for_data(partitioner::ByOwner, owner)
    isempty(partitioner.owner) || return partitioner
    owner === nothing &&
        fail("partition is owner, and the data has no owners: give owner, one id per ",
            "training sample")
    return ByOwner(owner)
end

"The number of clients that a partitioner makes if the option is `clients`."
nclients(partitioner, clients) = clients
nclients(partitioner::ByOwner, clients) = length(unique(partitioner.owner))

"The names of `n` clients: their owners, or their numbers."
client_names(partitioner, n) = collect(1:n)
client_names(partitioner::ByOwner, n) = sort!(unique(partitioner.owner))

"""
    partition(partitioner, x, y, clients, seed) -> Clients

Split the samples `x` and targets `y` among `clients` clients. `partitioner` is a function
`partitioner(y, clients, rng)` that returns one vector of indices per client.

```julia
FedFlux.partition(FedFlux.Shards(2), rand(Float32, 4, 100), rand(0:9, 100), 5, 0)
```
"""
function partition(partitioner, x, y, clients::Integer, seed)
    n = numobs(y)
    clients = nclients(partitioner, clients)
    clients <= n ||
        fail("clients is ", clients, ", and there are ", n,
            " training samples; every client needs at least one")
    parts = partitioner(y, clients, Stream(seed, :partition))
    return Clients(skew_features(partitioner, x, parts, seed), y, parts)
end

"The samples as the clients see them. Most partitioners leave them unchanged."
skew_features(partitioner, x, parts, seed) = x

"""
    Listed(parts; names = 1:length(parts))

Client `k` holds the samples `parts[k]`, indices from 1; the list of parts decides how many
clients there are. A sample may be held by several clients, or by none.

```julia
FedFlux.Listed([[1, 3], [2]])([0, 1, 0], 2, nothing)    # [[1, 3], [2]]
```
"""
struct Listed
    parts::Vector{Vector{Int}}
    names::Vector{Any}
end

Listed(parts; names = 1:length(parts)) = Listed(map(p -> collect(Int, p), parts), names)

(partitioner::Listed)(y, clients, rng) = partitioner.parts

nclients(partitioner::Listed, clients) = length(partitioner.parts)
client_names(partitioner::Listed, n) = partitioner.names

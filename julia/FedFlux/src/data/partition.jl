# Splits of a data set among clients. A law is called as `law(y, clients, rng)` with the targets, the number of clients
# and a generator, and gives one vector of indices for each client.

"""
    IID()

Equal shares of a shuffled data set; where the number of clients doesn't divide it, the first shares are one sample
longer. Called as `IID()(y, clients, rng)`; returns one vector of indices for each client.

```julia
FedFlux.IID()(rand(0:9, 100), 3, Stream(0, :partition))   # parts of 34, 33 and 33
```
"""
struct IID end

construct(::Val{:partition}, ::Val{:iid}) = IID()

(::IID)(y, clients, rng) = equal_cuts(shuffle!(rng, collect(1:numobs(y))), clients)

"`list` in `n` consecutive parts of equal length; where `n` doesn't divide it, the first are one longer."
function equal_cuts(list, n)
    share, longer = divrem(length(list), n)
    stops = cumsum([share + (k <= longer) for k in 1:n])
    return [list[(k == 1 ? 1 : stops[k-1] + 1):stops[k]] for k in 1:n]
end

"""
    ByOwner(owner)

Each client holds the samples of one owner, such as a writer, a phone or a hospital: `owner` names, for every sample, whose it
is. Clients are the owners in sorted order, so their number follows from `owner`.

```julia
FedFlux.ByOwner(["b", "a", "b"])([0, 1, 0], 2, nothing)   # [[2], [1, 3]]
```
"""
struct ByOwner{V<:AbstractVector}
    owner::V
end

construct(::Val{:partition}, ::Val{:owner}) = ByOwner(Nothing[])

function (law::ByOwner)(y, clients, rng)
    check_owner(law.owner, numobs(y))
    parts = Dict{eltype(law.owner),Vector{Int}}()
    for (i, owner) in enumerate(law.owner)
        push!(get!(parts, owner, Int[]), i)
    end
    return [parts[owner] for owner in sort!(collect(keys(parts)))]
end

check_owner(owner, n) = length(owner) == n ||
    fail("owner names the owners of ", length(owner), " samples, and there are ", n, " for training; expected one for each")

"The law as it is for this data: `ByOwner` takes the owners from the data set."
for_data(law, owner) = law
function for_data(law::ByOwner, owner)
    isempty(law.owner) || return law
    owner === nothing &&
        fail("partition is owner, and the data doesn't say whose each sample is: give owner, one id for each training sample")
    return ByOwner(owner)
end

"How many clients a law makes where `clients` were asked for."
nclients(law, clients) = clients
nclients(law::ByOwner, clients) = length(unique(law.owner))

"""
    partition(law, x, y, clients, seed) -> Clients

The clients that share `x` and `y` by the `law`, a function `law(y, clients, rng)` that gives one vector of indices for each
client.

```julia
FedFlux.partition(FedFlux.Shards(2), rand(Float32, 4, 100), rand(0:9, 100), 5, 0)
```
"""
function partition(law, x, y, clients::Integer, seed)
    n = numobs(y)
    clients = nclients(law, clients)
    clients <= n || fail("clients is ", clients, ", and there are ", n, " training samples; every client needs at least one")
    parts = law(y, clients, Stream(seed, :partition))
    return Clients(skew_features(law, x, parts, seed), y, parts)
end

"The samples as the clients see them; most laws only say who holds what."
skew_features(law, x, parts, seed) = x

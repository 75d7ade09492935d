# Splits of a data set among clients. Each takes the targets, the number of clients and a generator, and gives parts.

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

function (::IID)(y, clients, rng)
    n = numobs(y)
    order = shuffle!(rng, collect(1:n))
    share, longer = divrem(n, clients)
    stops = cumsum([share + (k <= longer) for k in 1:clients])
    return [order[(k == 1 ? 1 : stops[k-1] + 1):stops[k]] for k in 1:clients]
end

"The clients that share `x` and `y` by the `law`, a function `law(y, clients, rng)` that gives parts."
function partition(law, x, y, clients::Integer, seed)
    n = numobs(y)
    clients <= n || fail("clients is ", clients, ", and there are ", n, " training samples; every client needs at least one")
    return Clients(x, y, law(y, clients, Stream(seed, :partition)))
end

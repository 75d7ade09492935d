# Clients of sizes that follow a law.

"""
    Sizes(law = "linear", min_size = 1)

Clients of different sizes with the same mix of labels: client i of N has a share of the
shuffled samples in proportion to i (`"linear"`), i² (`"square"`) or exp(i)
(`"exponential"`), as the partitioners of these names in Flower's data sets. A client with
fewer than `min_size` samples gets the missing ones from the clients that are largest at
that time.

```julia
length.(FedFlux.Sizes("square")(rand(0:9, 1000), 5, Stream(0, :partition)))
```
"""
struct Sizes
    law::String
    min_size::Int
end
Sizes(law = "linear"; min_size = 1) = Sizes(law, min_size)

construct(::Val{:partition}, ::Val{:sizes}; law, min_size) = Sizes(law, min_size)

# From the last client on, so that exp does not overflow.
const SIZE_LAWS = Dict("linear" => (i, n) -> i / n, "square" => (i, n) -> (i / n)^2,
    "exponential" => (i, n) -> exp(i - n))

function (partitioner::Sizes)(y, clients, rng)
    (; law, min_size) = partitioner
    haskey(SIZE_LAWS, law) || fail("partition sizes: law is ", repr(law),
        "; expected linear, square or exponential")
    shares = [SIZE_LAWS[law](i, clients) for i = 1:clients]
    samples = shuffle!(rng, collect(1:numobs(y)))
    return fill_small!(
        proportional_cuts(samples, shares ./ sum(shares)),
        min_size,
        rng,
        "sizes"
    )
end

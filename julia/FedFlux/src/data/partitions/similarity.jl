# Clients that are similar to a degree.

"""
    Similarity(percent = 10.0)

Equal sizes: `percent` % of the samples are dealt at random, and the rest sorted by label,
one block per client (Karimireddy et al. 2020, SCAFFOLD, arXiv:1910.06378, section 7). 100
is iid, and 0 leaves most clients one or two labels.

```julia
FedFlux.Similarity(10)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
Base.@kwdef struct Similarity
    percent::Float64 = 10.0
end

function (partitioner::Similarity)(y, clients, rng)
    0 <= partitioner.percent <= 100 || fail("partition similarity: percent is ",
        partitioner.percent, "; expected 0 to 100")
    labels = single_labels("similarity", y)
    shuffled = shuffle!(rng, collect(eachindex(labels)))
    alike = round(Int, partitioner.percent / 100 * length(labels))
    rest = sort!(shuffled[(alike+1):end]; by = i -> labels[i], alg = MergeSort)
    # The clients with one sample less of the first have one more of the second.
    first_cuts = reverse(equal_cuts(shuffled[1:alike], clients))
    return map(vcat, first_cuts, equal_cuts(rest, clients))
end

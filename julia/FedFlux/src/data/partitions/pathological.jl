# The pathological split of the benchmark libraries.

"""
    Pathological(k = 2)

`k` labels per client: each label in turn goes to the first clients, by number, that hold
fewer than `k` labels, `clients·k/labels` of them (rounded up), in equal shares of its
shuffled samples. PFLlib's "pat" split with equal shares (Zhang et al. 2023,
arXiv:2312.04992). Neighboring clients hold the same labels, while those of
[`LabelSkew`](@ref) overlap. Labels that no client takes are left out.

```julia
FedFlux.Pathological(2)(rand(0:9, 1000), 20, Stream(0, :partition))
```
"""
Base.@kwdef struct Pathological
    k::Int = 2
end

function (partitioner::Pathological)(y, clients, rng)
    held = by_label(single_labels("pathological", y))
    k, classes = partitioner.k, length(held)
    k <= classes || fail("partition pathological: k is ", k, ", and there are ", classes,
        " labels; expected at most as many")
    parts, labels = [Int[] for _ = 1:clients], zeros(Int, clients)
    first_open = 1                    # all clients before it hold k labels
    for samples in held
        shuffle!(rng, samples)
        while first_open <= clients && labels[first_open] == k
            first_open += 1
        end
        takers = first_open:min(clients, first_open+cld(clients*k, classes)-1)
        isempty(takers) && break
        labels[takers] .+= 1
        foreach(
            (c, cut) -> append!(parts[c], cut),
            takers,
            equal_cuts(samples, length(takers))
        )
    end
    empty = findfirst(isempty, parts)
    empty === nothing || fail("partition pathological: no samples are left for client ",
        empty, "; use fewer clients than ", clients)
    return parts
end

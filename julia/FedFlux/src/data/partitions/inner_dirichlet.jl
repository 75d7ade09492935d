# Clients of equal size, each with its own mix of labels.

"""
    InnerDirichlet(alpha = 0.5)

Equal sizes, and a mix of labels for each client from a symmetric Dirichlet(`alpha`) (Hsu et
al. 2019, arXiv:1909.06335; Acar et al. 2021, arXiv:2111.04263). One sample after another
goes to a client drawn from those that aren't full. Its label is drawn by the client's mix,
from the labels that have samples left; if the mix gives none of those, by their number.
[`Dirichlet`](@ref) draws the clients' shares of each label instead, so that sizes differ.

```julia
FedFlux.InnerDirichlet(0.1)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
Base.@kwdef struct InnerDirichlet
    alpha::Float64 = 0.5
end

function (partitioner::InnerDirichlet)(y, clients, rng)
    left = by_label(single_labels("inner_dirichlet", y))
    foreach(samples -> shuffle!(rng, samples), left)
    mixes = [dirichlet!(rng, partitioner.alpha, length(left)) for _ = 1:clients]
    n = numobs(y)
    missing = [length(range) for range in equal_cuts(1:n, clients)]
    open, parts = collect(1:clients), [Int[] for _ = 1:clients]
    for _ = 1:n
        place = 1 + below!(rng, length(open))
        client = open[place]
        push!(parts[client], pop!(left[draw_label(rng, mixes[client], left)]))
        missing[client] -= 1
        missing[client] == 0 && deleteat!(open, place)
    end
    return parts
end

"A label with samples `left`, drawn by the client's `mix`."
function draw_label(rng, mix, left)
    total = sum(c -> isempty(left[c]) ? 0.0 : mix[c], eachindex(left))
    weight(c) = isempty(left[c]) ? 0.0 : total > 0 ? mix[c] : Float64(length(left[c]))
    total > 0 || (total = Float64(sum(length, left)))
    rest, last = total * rand(rng, Float64), 0
    for c in eachindex(left)
        weight(c) > 0 || continue
        rest, last = rest - weight(c), c
        rest < 0 && return c
    end
    return last                       # rounding has left a rest
end

# Clients whose data differ in labels, in number or in features. Compared by Li et al. 2022,
# NIID-Bench (arXiv:2102.02079).

"The labels of `y`, from 1, for the partition `name`, which needs one label per sample."
function single_labels(name, y)
    y isa AbstractVector && all(v -> isinteger(v) && v >= 0, y) ||
        fail("partition ", name, " goes by labels, and the targets are of size ", size(y),
            " and type ", eltype(y), "; expected one whole-number label from 0 per ",
            "sample: use iid, quantity or owner")
    return Int.(y) .+ 1
end

"The samples of each label, from 1: a vector of vectors."
function by_label(labels)
    held = [Int[] for _ = 1:maximum(labels)]
    foreach(i -> push!(held[labels[i]], i), eachindex(labels))
    return held
end

"Cut `list` into consecutive parts in these proportions."
function proportional_cuts(list, proportions)
    stops = round.(Int, cumsum(proportions) .* length(list))
    stops[end] = length(list)
    return [list[range] for range in consecutive(diff([0; stops]))]
end

"""
Fill each part of partition `name` up to `min_size` samples, one at a time: each a random
sample of the part that is largest at that time.
"""
function fill_small!(parts, min_size, rng, name)
    n = sum(length, parts)
    min_size <= n ÷ length(parts) ||
        fail("partition ", name, ": min_size is ", min_size, " for ", length(parts),
            " clients, and there are ", n, " samples; expected at most ",
            n ÷ length(parts))
    for part in parts
        while length(part) < min_size
            from = argmax(k -> length(parts[k]), eachindex(parts))
            j = 1 + below!(rng, length(parts[from]))
            push!(part, parts[from][j])
            deleteat!(parts[from], j)
        end
    end
    return parts
end

"""
    Dirichlet(alpha = 0.5, min_size = 1)

Label skew: for each label, the clients' proportions are drawn from a symmetric
Dirichlet(`alpha`) (Yurochkin et al. 2019, arXiv:1905.12022; Hsu et al. 2019,
arXiv:1909.06335, draw each client's labels instead). A large `alpha` is close to iid; 0.1
leaves a client few labels. A client with fewer than `min_size` samples gets the missing
ones from the clients that are largest at that time. Nothing is redrawn, so this always
ends.

```julia
FedFlux.Dirichlet(0.1)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
struct Dirichlet
    alpha::Float64
    min_size::Int
end
Dirichlet(alpha = 0.5; min_size = 1) = Dirichlet(alpha, min_size)

construct(::Val{:partition}, ::Val{:dirichlet}; alpha, min_size) =
    Dirichlet(alpha, min_size)

function (partitioner::Dirichlet)(y, clients, rng)
    parts = [Int[] for _ = 1:clients]
    for samples in by_label(single_labels("dirichlet", y))
        shuffle!(rng, samples)
        proportions = dirichlet!(rng, partitioner.alpha, clients)
        foreach(append!, parts, proportional_cuts(samples, proportions))
    end
    return fill_small!(parts, partitioner.min_size, rng, "dirichlet")
end

"""
    Shards(k = 2)

McMahan's pathological split (arXiv:1602.05629, section 3): the samples, sorted by label,
are cut into `k`·clients shards, and each client gets `k` of them at random. Most clients
then hold `k` labels, or one more if a shard spans two labels.

```julia
FedFlux.Shards(2)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
Base.@kwdef struct Shards
    k::Int = 2
end

function (partitioner::Shards)(y, clients, rng)
    labels = single_labels("shards", y)
    k = partitioner.k
    k <= length(labels) ÷ clients ||
        fail("partition shards: ", k, " shards for each of ", clients,
            " clients, and there are ", length(labels),
            " samples; expected at least one sample per shard")
    sorted = sortperm(labels; alg = MergeSort)     # MergeSort is stable
    shards = shuffle!(rng, equal_cuts(sorted, k * clients))
    return [concatenated(Int, shards[(k*(c-1)+1):(k*c)]) for c = 1:clients]
end

"""
    LabelSkew(k = 2)

`k` labels per client: client i (from 0) holds the labels i, i+1, …, i+k-1 modulo the number
of labels, and each label's samples, shuffled, are split equally among its holders.
NIID-Bench's "#C = k" (arXiv:2102.02079), but which client holds which labels does not
depend on the seed. Labels that no client holds (fewer clients than labels) are left out.

```julia
FedFlux.LabelSkew(2)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
Base.@kwdef struct LabelSkew
    k::Int = 2
end

function (partitioner::LabelSkew)(y, clients, rng)
    held = by_label(single_labels("labels", y))
    classes = length(held)
    k = partitioner.k
    k <= classes ||
        fail("partition labels: k is ", k, ", and there are ", classes,
            " labels; expected at most as many")
    parts = [Int[] for _ = 1:clients]
    for label = 1:classes
        holders = [c for c = 1:clients if mod(label - c, classes) < k]
        isempty(holders) && continue
        cuts = equal_cuts(shuffle!(rng, held[label]), length(holders))
        foreach((c, samples) -> append!(parts[c], samples), holders, cuts)
    end
    empty = findfirst(isempty, parts)
    empty === nothing ||
        fail("partition labels: no samples are left for client ", empty,
            ", since its labels have fewer samples than holders; use fewer clients than ",
            clients)
    return parts
end

"""
    QuantitySkew(alpha = 0.5, min_size = 1)

Clients of different sizes with the same mix of labels. The sizes are in proportions drawn
from a symmetric Dirichlet(`alpha`) (NIID-Bench, arXiv:2102.02079, quantity skew). A client
with fewer than `min_size` samples gets the missing ones from the clients that are largest
at that time.

```julia
length.(FedFlux.QuantitySkew(0.5)(rand(0:9, 1000), 10, Stream(0, :partition)))
```
"""
struct QuantitySkew
    alpha::Float64
    min_size::Int
end
QuantitySkew(alpha = 0.5; min_size = 1) = QuantitySkew(alpha, min_size)

construct(::Val{:partition}, ::Val{:quantity}; alpha, min_size) =
    QuantitySkew(alpha, min_size)

function (partitioner::QuantitySkew)(y, clients, rng)
    samples = shuffle!(rng, collect(1:numobs(y)))
    parts = proportional_cuts(samples, dirichlet!(rng, partitioner.alpha, clients))
    return fill_small!(parts, partitioner.min_size, rng, "quantity")
end

"""
    FeatureNoise(level = 0.1)

Equal random shares, with Gaussian noise on the inputs. Its variance grows with the client:
`level`·k/N for client k of N (NIID-Bench, arXiv:2102.02079, noise-based feature skew). The
noise is drawn from the stream (seed, partition, 0, k) and added once, to a copy of the
data. Test data stays clean.

```julia
FedFlux.partition(FedFlux.FeatureNoise(0.1), zeros(Float32, 4, 100), rand(0:9, 100), 5, 0)
```
"""
Base.@kwdef struct FeatureNoise
    level::Float64 = 0.1
end

(::FeatureNoise)(y, clients, rng) = IID()(y, clients, rng)

function skew_features(partitioner::FeatureNoise, x, parts, seed)
    eltype(x) <: AbstractFloat ||
        fail("partition noise adds noise to inputs, and these are tokens (", eltype(x),
            "); use another partition")
    must_be_in_memory(x, "partition noise")
    noisy = reshape(copy(x), :, numobs(x))
    for (k, part) in enumerate(parts)
        rng = Stream(seed, :partition, 0, k)
        σ = sqrt(partitioner.level * k / length(parts))
        for i in part, j in axes(noisy, 1)
            noisy[j, i] += σ * normal!(rng)
        end
    end
    return reshape(noisy, size(x))
end

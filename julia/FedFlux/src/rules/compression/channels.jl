# Pruning of whole channels, so that the model that remains is a smaller dense model.

"""
    PruneChannels(fraction; start = 1, stop = 10)

Prune whole output channels of convolutions and outputs of Dense layers: in each layer those
whose weights have the smallest L1 norm (Li et al. 2017, arXiv:1608.08710). By round `stop`,
`fraction` of the channels, rounded down, are pruned, on the cubic schedule of
[`Prune`](@ref). With a channel go its bias, its BatchNorm's scale and shift, and the
weights of the next layer that read it. The last layer keeps its outputs. [`shrink`](@ref)
then makes the small model.

Supported are chains of Conv, Dense, BatchNorm, Dropout, pools, flatten and activations that
map 0 to 0. A layer that is followed by any other layer is not pruned, and none that is
private to the clients: with [`FedPer`](@ref) and [`FedRep`](@ref), only the weights of a
private layer that would read a pruned channel stay.

```julia
Federated(mcmahan_cnn(); rules = (PruneChannels(0.5; stop = 5),))
```
"""
struct PruneChannels <: Pruning
    final::Float64
    start::Int
    stop::Int
    function PruneChannels(fraction; start = 1, stop = 10)
        check_schedule("prune_channels", fraction, "fraction", start, stop)
        return new(fraction, start, stop)
    end
end

construct(::Val{:rule}, ::Val{:prune_channels}; fraction, start, stop) =
    PruneChannels(fraction; start, stop)

check_model(::PruneChannels, model) =
    isempty(links(model)) &&
    fail("prune_channels finds no two layers in this model of which one reads the ",
        "other's channels; use prune")

function prepare(r::PruneChannels, layout, training)
    isempty(layout.frozen) || fail("prune_channels takes away whole channels, and freeze ",
        "keeps ", join(layout.frozen, ", "), " as it is: use one of them")
    return r
end

function choose(::PruneChannels, kept, θ, fraction, ctx)
    n = ctx.layout.n
    iskept = zeros(Float32, n)
    iskept[kept] .= 1
    θm = to_model!(similar(θ), ctx.engine, θ)
    iskeptm = to_model!(similar(θ), ctx.engine, iskept)
    prunem, at = zeros(Float32, n), positions(ctx.federation.model)
    found = shared_links(ctx, at)
    isempty(found) &&
        fail("prune_channels finds no two layers in this model of which one reads the ",
            "other's channels, and clients share that one; use prune")
    for link in found
        weights = [own_weights(at, link, c) for c = 1:channels(link.from)]
        left = [c for c in eachindex(weights) if any(i -> iskeptm[i] > 0, weights[c])]
        target = floor(Int, fraction * length(weights) + 1e-9)
        more = target - (length(weights) - length(left))
        scores = [sum(i -> abs(θm[i]), weights[c]) for c in left]
        for c in left[sortperm(scores)[1:max(more, 0)]]
            prunem[channel_indices(at, link, c)] .= 1
        end
    end
    prune = to_engine!(similar(θ), ctx.engine, prunem)
    return filter(i -> prune[i] > 0, kept)
end

"The links whose channels are made by arrays that clients share."
function shared_links(ctx, at)
    found = links(ctx.federation.model)
    ctx.known === nothing && return found
    shared = zeros(Float32, ctx.layout.n)
    shared[ctx.known] .= 1
    sharedm = to_model!(similar(shared), ctx.engine, shared)
    return filter(link -> all(i -> sharedm[i] > 0, made_from(at, link, 1)), found)
end

"The indices of each array's values in the flat vector in model order."
function positions(model)
    ranges = ranges_of(Optimisers.trainables(model))
    return IdDict{Any,Any}(a => reshape(range, size(a)) for (a, range) in ranges)
end

own_weights(at, link, c) = vec(selectdim(at[link.from.weight], output_dim(link.from), c))

"The indices of what makes channel `c` of a link: weights, bias, scales and shifts."
function made_from(at, link, c)
    beside = Int[at[a][c] for l in link.norms for a in (l.γ, l.β)]
    link.from.bias === false || push!(beside, at[link.from.bias][c])
    return [own_weights(at, link, c); beside]
end

"The indices of everything that is pruned with channel `c` of a link."
function channel_indices(at, link, c)
    readers = vec(selectdim(at[link.to.weight], input_dim(link.to), inputs_from(link, c)))
    return [made_from(at, link, c); readers]
end

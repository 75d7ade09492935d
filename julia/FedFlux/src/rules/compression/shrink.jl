# The small model that remains after channel pruning.

"""
    shrink(model) -> model

Return a smaller model without the channels that [`PruneChannels`](@ref) pruned: the
channels of a Conv or Dense layer whose weights and bias (and whose BatchNorms' scale and
shift) are all zero, together with the weights that read them. It computes the same outputs
as `model`, in fewer operations. At least one channel of each layer stays. If there is
nothing to remove, the result is a copy.

```julia
model = mcmahan_cnn()
model[1].weight[:, :, :, 1:16] .= 0
size(shrink(model)[1].weight)       # (5, 5, 1, 16)
```
"""
function shrink(model)
    model = deepcopy(model)
    small = IdDict{Any,Any}()
    latest(l) = get(small, l, l)
    for link in links(model)
        stay = live_channels(link)
        small[link.from] = with_outputs(latest(link.from), stay)
        foreach(l -> small[l] = with_channels(l, stay), link.norms)
        stay_inputs = concatenated(Int, (inputs_from(link, c) for c in stay))
        small[link.to] = with_inputs(latest(link.to), stay_inputs)
    end
    return rebuilt(model, latest)
end

rebuilt(l, latest) = latest(l)
rebuilt(model::Chain, latest) = Chain(map(l -> rebuilt(l, latest), model.layers))

function live_channels(link)
    beside = [a for l in link.norms for a in (l.γ, l.β)]
    link.from.bias === false || push!(beside, link.from.bias)
    weights(c) = selectdim(link.from.weight, output_dim(link.from), c)
    live(c) = any(!iszero, weights(c)) || any(a -> a[c] != 0, beside)
    stay = filter(live, 1:channels(link.from))
    return isempty(stay) ? [1] : stay
end

function with_outputs(l, stay)
    weight = copy(selectdim(l.weight, output_dim(l), stay))
    return with_arrays(l, weight, l.bias === false ? false : l.bias[stay])
end
with_inputs(l, stay) = with_arrays(l, copy(selectdim(l.weight, input_dim(l), stay)), l.bias)

with_arrays(l::Dense, weight, bias) = Dense(weight, bias, l.σ)
with_arrays(l::Conv, weight, bias) =
    Conv(l.σ, weight, bias, l.stride, l.pad, l.dilation, l.groups)

with_channels(l::BatchNorm, stay) =
    BatchNorm(l.λ, l.β[stay], l.γ[stay], kept_statistics(l.μ, stay),
        kept_statistics(l.σ², stay), l.ϵ, l.momentum, l.affine, l.track_stats,
        l.active, length(stay))
kept_statistics(a, stay) = a === nothing ? nothing : a[stay]

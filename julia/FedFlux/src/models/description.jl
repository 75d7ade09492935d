# The description of a Flux model: what `described_model` builds it from again.

"""
    description(model) -> Vector{Dict{String,Any}}

What [`described_model`](@ref) makes a model of these layers from. Throws a
[`FedFluxError`](@ref) that names the first layer which has no description.

```julia
FedFlux.description(Chain(Dense(4 => 2, relu)))[1]["out"]       # 2
```
"""
description(model) = described_layers(model, "")

function described_layers(model, path)
    layers = model isa Chain ? values(model.layers) : (model,)
    lists = [one_or_more(l, string(path, i)) for (i, l) in enumerate(layers)]
    return concatenated(Dict{String,Any}, lists)
end

one_or_more(l::Chain, path) = described_layers(l, "$path.")
one_or_more(::typeof(identity), path) = Dict{String,Any}[]
function one_or_more(l, path)
    entries = entries_of(l)
    entries === nothing && fail("layer ", path, ", ", summary_of(l),
        ", has no description, so that it can't be translated: expected Flux's common ",
        "layers")
    return Dict{String,Any}[entries]
end
function one_or_more(l::Flux.Parallel, path)
    l.connection === (+) || fail("layer ", path, ", ", summary_of(l),
        ", joins its branches by ", l.connection, "; expected +")
    branches = [described_layers(b, "$path.$j.") for (j, b) in
                                                     enumerate(values(l.layers))]
    return [Dict{String,Any}("layer" => "sum", "branches" => branches)]
end
one_or_more(l::Flux.SkipConnection, path) =
    l.connection === (+) ? one_or_more(Flux.Parallel(+, l.layers, identity), path) :
    fail("layer ", path, ", ", summary_of(l), ", joins by ", l.connection, "; expected +")

entry(layer; entries...) =
    Dict{String,Any}("layer" => layer, (string(k) => v for (k, v) in entries)...)

"The description of a layer, or `nothing`."
entries_of(l) = nothing
entries_of(l::Dense) =
    named_activation(l.σ) === nothing ? nothing :
    entry("dense"; in = size(l.weight, 2), out = size(l.weight, 1),
        bias = l.bias !== false, activation = named_activation(l.σ))
function entries_of(l::Conv)
    pad, activation = equal_pads(l.pad, length(l.stride)), named_activation(l.σ)
    (pad === nothing || activation === nothing) && return nothing
    sizes = size(l.weight)
    return entry("conv"; in = sizes[end-1] * l.groups, out = sizes[end],
        kernel = in_numpy_order(sizes[1:(end-2)]), stride = in_numpy_order(l.stride),
        pad = in_numpy_order(pad),
        dilation = in_numpy_order(l.dilation), l.groups, bias = l.bias !== false, activation
    )
end
function entries_of(l::Union{MaxPool,MeanPool})
    pad = equal_pads(l.pad, length(l.k))
    pad === nothing && return nothing
    return entry(l isa MaxPool ? "max_pool" : "mean_pool"; kernel = in_numpy_order(l.k),
        stride = in_numpy_order(l.stride), pad = in_numpy_order(pad))
end
entries_of(l::AdaptiveMaxPool) = entry("adaptive_max_pool"; out = in_numpy_order(l.out))
entries_of(l::AdaptiveMeanPool) = entry("adaptive_mean_pool"; out = in_numpy_order(l.out))
entries_of(::GlobalMaxPool) = entry("global_max_pool")
entries_of(::GlobalMeanPool) = entry("global_mean_pool")
entries_of(l::BatchNorm) =
    named_activation(l.λ) === nothing ? nothing :
    entry("batch_norm"; channels = l.chs, eps = l.ϵ, l.momentum, l.affine,
        running = l.track_stats, activation = named_activation(l.λ))
entries_of(l::LayerNorm) =
    l.λ === identity ?
    entry("layer_norm"; size = in_numpy_order(l.size), eps = l.ϵ^2, l.affine) : nothing
entries_of(l::Flux.GroupNorm) =
    l.λ === identity ?
    entry("group_norm"; channels = l.chs, groups = l.G, eps = l.ϵ, l.affine) : nothing
entries_of(l::Dropout) = l.dims === Colon() ? entry("dropout"; l.p) : nothing
entries_of(l::Embedding) =
    entry("embedding"; vocabulary = size(l.weight, 2), size = size(l.weight, 1))
entries_of(l::RNN{false}) =
    named_activation(l.cell.σ) === nothing ? nothing :
    entry("rnn"; sizes_of(l.cell)..., bias = l.cell.bias !== false,
        activation = named_activation(l.cell.σ))
entries_of(l::LSTM{false}) =
    entry("lstm"; sizes_of(l.cell)..., bias = l.cell.bias !== false)
entries_of(l::GRU{false,<:Flux.GRUCell}) =
    entry("gru"; sizes_of(l.cell)..., bias = l.cell.b !== false)
entries_of(l::GRU{false,<:TwoBiasGRUCell}) = entry("two_bias_gru"; sizes_of(l.cell)...)
entries_of(::Union{typeof(Flux.flatten),typeof(MLUtils.flatten)}) = entry("flatten")
entries_of(::typeof(last_step)) = entry("last_step")
entries_of(::typeof(mean_of_steps)) = entry("mean_of_steps")
entries_of(::typeof(as_sequence)) = entry("as_sequence")
function entries_of(l::Base.Broadcast.BroadcastFunction)
    name = something(named_activation(l.f), key_of(MORE_ACTIVATIONS, l.f), "")
    return name == "" ? nothing : entry("activation"; name)
end
entries_of(l::WithValue) =
    entry("valued_activation"; name = key_of(VALUED_ACTIVATIONS, l.f), l.value)
entries_of(l::AlongAxis) =
    entry(l.f === NNlib.softmax ? "softmax" : "log_softmax"; l.axis)

named_activation(f) = key_of(ACTIVATIONS, f)
named_activation(::typeof(tanh_fast)) = "tanh"
named_activation(::typeof(sigmoid_fast)) = "sigmoid"
key_of(table, f) = findfirst(==(f), table)

"Sizes as lists in NumPy's order."
in_numpy_order(sizes) = collect(Int, reverse(sizes))
sizes_of(cell) = (in = size(cell.Wi, 2), out = size(cell.Wh, 2))

"The padding of each dimension, or `nothing` if the sides of one differ."
function equal_pads(pad, n)
    length(pad) == n && return pad
    pad[1:2:end] == pad[2:2:end] ? pad[1:2:end] : nothing
end

summary_of(layer) = first(split(repr(layer), '\n'))

# Which layer of a chain reads the channels of which other layer.

"""
A Conv or Dense layer, the BatchNorms that its channels pass, and the Conv or Dense layer
that reads them.
"""
struct Link
    from::Any
    norms::Vector{BatchNorm}
    to::Any
end

"""
    links(model) -> Vector{Link}

The links of a chain, in order. A channel of a link that is zero stays zero up to the layer
that reads it. A layer that is not known to keep zeros ends the link.
"""
function links(model)
    layers = all_layers(model)
    found, from, norms, flattened = Link[], nothing, BatchNorm[], false
    for l in layers
        if l isa Union{Conv,Dense}
            if from !== nothing && reads(l, from, flattened)
                push!(found, Link(from, norms, l))
            end
            alone = count(m -> m === l, layers) == 1
            from = alone && keeps_zero(l.σ) && groups(l) == 1 ? l : nothing
            norms, flattened = BatchNorm[], false
        elseif l isa BatchNorm && l.affine && keeps_zero(l.λ)
            norms = [norms; l]
        elseif isflatten(l)
            flattened = true
        elseif !passes_channels(l)
            from = nothing
        end
    end
    return found
end

"All layers of a model, including those of nested chains."
all_layers(model) = Any[model]
all_layers(model::Chain) = concatenated(Any, map(all_layers, model.layers))

# The dimension of the weights over the outputs, and the dimension over the inputs.
output_dim(l::Conv) = ndims(l.weight)
output_dim(::Dense) = 1
input_dim(l::Conv) = ndims(l.weight) - 1
input_dim(::Dense) = 2
channels(l) = size(l.weight, output_dim(l))
inputs(l) = size(l.weight, input_dim(l))
groups(l::Conv) = l.groups
groups(::Dense) = 1

reads(l::Conv, from, flattened) =
    from isa Conv && !flattened && groups(l) == 1 && inputs(l) == channels(from)
reads(l::Dense, from::Dense, flattened) = inputs(l) == channels(from)
reads(l::Dense, from::Conv, flattened) = flattened && inputs(l) % channels(from) == 0

"The inputs of a link's reader that come from channel `c`: several after a flatten."
function inputs_from(link, c)
    each = inputs(link.to) ÷ channels(link.from)
    return ((c-1)*each+1):(c*each)
end

isflatten(l) = l === Flux.flatten || l === MLUtils.flatten
keeps_zero(f) = iszero(f(0.0f0))

passes_channels(
    ::Union{MaxPool,MeanPool,GlobalMaxPool,GlobalMeanPool,AdaptiveMaxPool,
        AdaptiveMeanPool,Dropout}
) = true
passes_channels(f) = f in (identity, relu, relu6, leakyrelu, elu, gelu, swish, tanh,
    tanh_fast, hardtanh, softsign)

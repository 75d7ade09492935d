# Rules that treat classes by how many samples of each a client has: FedLC, FedRoD, FedRS.

"""
A rule that changes the logits of a model's last layer by the client's own label counts. Its
`receive!` is the last and its `client!` the first, so that other rules see the model as it
is. Needs cross-entropy on integer labels.
"""
abstract type LabelCounts <: Rule end

"Where the last layer stands in the flat vector: its weight (classes × inputs), its bias."
struct OutputLayer
    weight::UnitRange{Int}
    bias::UnitRange{Int}
end
OutputLayer() = OutputLayer(1:0, 1:0)      # before `prepare` sees the model

whole(o::OutputLayer) = first(o.weight):last(o.bias)

is_linear(layer) = layer isa Dense && layer.σ === identity && layer.bias isa AbstractVector

check_model(r::LabelCounts, model) = check_linear_end(r, model)

function check_linear_end(r, model)
    layer = final_layer(model)
    is_linear(layer) && return
    fail("rule ", nameof(typeof(r)), " works on the logits, and needs a model that ends ",
        "with a Dense layer with a bias and without an activation; this one ends with ",
        nameof(typeof(layer)))
end

# `check_model` has seen that a weight and a bias come last; they may be frozen.
function output_layer(rule, layout)
    layer(name) = first(rsplit(name, '.'; limit = 2))
    weight, bias = layout.slots[[max(end - 1, 1), end]]
    frozen = any(name -> numbers_in(name) >= numbers_in(bias.name), layout.frozen)
    layer(weight.name) == layer(bias.name) && weight !== bias && !frozen ||
        fail("rule ", rule, " works on the last layer, and freeze = ",
            join(layout.frozen, ", "), " keeps it or a part of it as it is")
    return OutputLayer(weight.range, bias.range)
end

"The numbers of the layers in an array's name, in order."
numbers_in(name) = [parse(Int, m.match) for m in eachmatch(r"(?<=\.)\d+", name)]

"""
The number of samples of each class, at least one: a class that a client lacks counts as if
it had one sample of it, since the equations have no value for none.
"""
counts_of(o::OutputLayer, own) = max.(label_counts(own, length(o.bias)), 1)

"""
A rule that adds a constant to each class's logit in training, which is the same as to start
from a shifted bias of the last layer and to shift it back at the end, with any optimizer.
"""
abstract type LogitShift <: LabelCounts end

"Shift the bias of the last layer of the flat `w` by `sign` times the offsets."
function shift!(o::OutputLayer, w, offsets, sign)
    view(w, o.bias) .+= sign .* offsets
    return w
end

"Take the shift back, from the trained model and from the one that it started from."
function unshift!(o::OutputLayer, offsets, ctx)
    shift!(o, ctx.w, offsets, -1)
    shift!(o, ctx.θ, offsets, -1)
end

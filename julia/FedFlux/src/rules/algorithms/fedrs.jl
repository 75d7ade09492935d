# FedRS: Li, Zhan, FedRS: Federated Learning with Restricted Softmax for Label Distribution
# Non-IID Data, KDD 2021, doi:10.1145/3447548.3467254, equation 5.

"""
    FedRS(; alpha = 0.5, few = 0)

Restricted softmax: clients train on the cross-entropy of `s_c z_c`, where `s_c` is `alpha`
for each class of which the client has at most `few` samples, and 1 for the others. So the
rows of the last layer for classes that a client lacks are pushed away less. `alpha = 1` is
FedAvg. The restriction is in training only. Throws a [`FedFluxError`](@ref) for clients
that don't train with plain SGD, and for a model that doesn't end with a linear Dense layer
with a bias.

Li, Zhan, KDD 2021, equation 5; other code has `few = 2`.

```julia
Federated(softmax_regression(4, 2); rules = (FedRS(alpha = 0.5),))
```
"""
struct FedRS <: LabelCounts
    alpha::Float32
    few::Int
    output::OutputLayer
end
FedRS(; alpha = 0.5, few = 0) = FedRS(alpha, few, OutputLayer())

function prepare(r::FedRS, layout, training)
    check_sgd("FedRS", training)
    return FedRS(r.alpha, r.few, output_layer("FedRS", layout))
end

# A client trains the scaled layer v = s W. Its gradient times s² is what makes a step of
# v the step that W takes under the loss of s z.
function receive!(r::FedRS, s, m, ctx, own)
    n = label_counts(own, length(r.output.bias))
    scales = [c <= r.few ? r.alpha : 1.0f0 for c in n]
    scale_rows!(r, m.w, scales)
    return scales
end

correct!(r::FedRS, s, g, w, ctx) =
    (scale_rows!(r, g, s.private); scale_rows!(r, g, s.private))

function client!(r::FedRS, s, u, ctx)
    back = inv.(s.private)
    foreach(v -> scale_rows!(r, v, back), (ctx.w, ctx.θ, u.delta))
    return nothing, u
end

"Multiply what belongs to each class in the flat `v` by its scale."
function scale_rows!(r::FedRS, v, scales)
    for (at, i) in enumerate(whole(r.output))      # classes are the rows of the weight
        v[i] *= scales[mod1(at, length(scales))]
    end
    return v
end

# FedRoD: Chen, Chao, On Bridging Generic and Personalized Federated Learning for Image
# Classification, arXiv:2107.00778, Algorithm 1.

"""
    FedRoD(; personal = true)

One model that is good on all classes, and one for each client. The shared model is trained
on the balanced softmax, the cross-entropy of `z_c + log n_c` with n_c the client's number
of samples of class c, so that it does not learn which classes its clients have. Each client
also keeps a private head P on the features of the shared model. P is trained on the plain
cross-entropy of `z + P h`, and what it learns moves neither the features h nor the shared
head.

P trains for as many epochs as the model, before it and on the features of the model that
the client received, which are the features that it will be used with. `personal = false`
leaves P out: the balanced softmax alone. A class that a client lacks counts as if it had
one sample. Throws a [`FedFluxError`](@ref) for a model that doesn't end with a linear Dense
layer with a bias.

Chen, Chao, arXiv:2107.00778, Algorithm 1, with linear heads.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedRoD(),))
```
"""
struct FedRoD <: LogitShift
    personal::Bool
    output::OutputLayer
end
FedRoD(; personal = true) = FedRoD(personal, OutputLayer())

prepare(r::FedRoD, layout, training) = FedRoD(r.personal, output_layer("FedRoD", layout))

personalises(r::FedRoD) = r.personal

function receive!(r::FedRoD, s, m, ctx, own)
    head = r.personal ? train_head(r, s.private, m, own) : Float32[]
    offsets = Float32.(log.(counts_of(r.output, own)))
    shift!(r.output, m.w, offsets, 1)
    return (; head, offsets)
end

"The private head, as a difference from the shared one, after its own training."
function train_head(r::FedRoD, private, m, own)
    head = whole(r.output)
    v = (; w = copy(m.w), stats = copy(m.stats))
    personal!(r, private, v)
    others = (1:(first(head)-1), (last(head)+1):length(v.w))
    freeze_body(g, w) = foreach(range -> fill!(view(g, range), 0), others)
    train!(freeze_body, own, v)
    return v.w[head] .- m.w[head]
end

function client!(r::FedRoD, s, u, ctx)
    unshift!(r.output, s.private.offsets, ctx)
    return (r.personal ? (; s.private.head) : nothing), u
end

function personal!(r::FedRoD, private, m)
    private === nothing || (view(m.w, whole(r.output)) .+= private.head)
    return m
end

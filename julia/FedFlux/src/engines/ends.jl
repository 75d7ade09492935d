# The end of a model: what its last layer takes and gives, for rules that add to the loss.

"""
    Ends(e::Engine, n)

Memory for the end of a model on a batch of up to `n` samples, one in each column: the
features `h`, which its last layer takes, the logits `z`, which it gives, and the gradients
`dh` and `dz` of what is added to the loss. Throws [`Unsupported`](@ref) for a model that
doesn't end with a Dense layer on the features of each sample.
"""
mutable struct Ends
    z::Matrix{Float32}
    dz::Matrix{Float32}
    h::Matrix{Float32}
    dh::Matrix{Float32}
end

function Ends(e::Engine, n)
    outputs, inputs = ends_size(e)
    new_matrix(rows) = zeros(Float32, rows, n)
    return Ends(new_matrix(outputs), new_matrix(outputs), new_matrix(inputs),
        new_matrix(inputs))
end

const NO_ENDS = "its last layer must be a Dense on the features of each sample"

"""
    ends!(b::Ends, e::Engine, w, x) -> b

Write the logits and the features of the batch `x` at the parameters `w`, in test mode.
"""
function ends! end

"All layers of a model but its last one, as a `Chain`, and that one."
front_and_last(model) = Chain(Any[]), model
function front_and_last(model::Chain)
    layers = collect(Any, values(model.layers))
    front, final = front_and_last(layers[end])
    return Chain(Any[layers[1:(end-1)]; front.layers]), final
end

function ends_size(e::ZygoteEngine)
    layer = final_layer(e.model)
    layer isa Dense || throw(Unsupported(NO_ENDS))
    return size(layer.weight)
end

function ends!(b::Ends, e::ZygoteEngine, w, x)
    scatter!(e.params, w)
    front, final = front_and_last(e.model)
    h = front(x)
    write_ends!(b, h, final(h))
    return b
end

function write_ends!(b::Ends, h, z)
    copyto!(b.h, h)
    copyto!(b.z, z)
end

"""
    valgrad!(teach, e::Engine, g, w, x, y, b::Ends) -> loss

The loss and its gradient with a term added: after the forward pass `teach(n)` meets the
logits and the features of the `n` samples in `b`, adds the gradients of its term to `dz`,
which holds the loss's own, and to `dh`, which is zero, and returns the term.
"""
function valgrad!(teach, e::ZygoteEngine, g, w, x, y, b::Ends)
    parts = front, final = front_and_last(e.model)
    differentiate!(e, g, w, parts) do
        h, back = Zygote.pullback(m -> m(x), front)
        z, last_back = Zygote.pullback((l, h) -> l(h), final, h)
        loss, dz = Zygote.withgradient(ŷ -> e.loss(ŷ, y), z)
        write_ends!(b, h, z)
        copyto!(b.dz, dz[1])
        fill!(b.dh, 0)
        term = teach(numobs(x))
        like(a, d) = reshape(d[1:length(a)], size(a))
        dfinal, dh = last_back(like(z, b.dz))
        dfront, = back(dh .+ like(h, b.dh))
        return loss + term, ((dfront, dfinal),)
    end
end

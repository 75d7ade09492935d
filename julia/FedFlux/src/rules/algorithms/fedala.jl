# FedALA: Zhang et al., FedALA: Adaptive Local Aggregation for Personalized Federated
# Learning, arXiv:2212.01197, Algorithm 1.

"""
    FedALA(; layers = 1, eta = 1, start_epochs = 5)

Each client begins a round with its own mixture of its last model and the global one: in the
last `layers` layers with parameters

    ŵ = w_old + (θ − w_old) ⊙ W,
    W ← clip₀¹(W − η ∂Fₖ/∂ŵ ⊙ (θ − w_old)),

with a weight in W for each parameter, which starts at 1; earlier layers are those of θ. W
learns on the client's own data with everything else fixed, before the client trains ŵ: for
`start_epochs` epochs the first time, and for one in each later round. (The paper's first
time ends when the losses settle, and it takes 80 % of the data each time.) A client's own
model is the one that it trained. Each keeps it, and W.

Zhang et al., arXiv:2212.01197, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedALA(),))
```
"""
struct FedALA <: Rule
    layers::Int
    eta::Float32
    start_epochs::Int
    mixed::Vector{Int}      # the parameters of the last layers
end
FedALA(; layers = 1, eta = 1, start_epochs = 5) = FedALA(layers, eta, start_epochs, Int[])

function prepare(r::FedALA, layout, training)
    ours = in_head(layout, r.layers, String[])
    mixed = concatenated(Int, (s.range for s in layout.slots if ours(s)))
    return FedALA(r.layers, r.eta, r.start_epochs, mixed)
end

personalises(::FedALA) = true
personal!(::FedALA, private, m) = copy_personal!(m, private)

function receive!(r::FedALA, s, m, ctx, own)
    (; mixed) = r
    s.private === nothing &&
        return (; weights = ones(Float32, length(mixed)), jump = zeros32(length(mixed)),
            begun = [0])
    (; w, weights, begun) = s.private
    weights = copy(weights)
    v, old, gap = (; w = copy(m.w), stats = copy(m.stats)), w[mixed], m.w[mixed] .- w[mixed]
    mix!(w) = (view(w, mixed) .= old .+ gap .* weights)
    function learn(g, w)
        ∂ = view(g, mixed)
        @. weights = clamp(weights - r.eta * ∂ * gap, 0.0f0, 1.0f0)
        mix!(w)
        fill!(g, 0)         # the optimizer moves nothing
    end
    mix!(v.w)
    epochs = only(begun) == 0 ? r.start_epochs : 1
    any(!iszero, gap) && train!(learn, own, v; epochs, maxsteps = typemax(Int))
    jump = old .+ gap .* weights .- m.w[mixed]
    mix!(m.w)
    return (; weights, jump, begun = [1])
end

# The server averages the clients' models, wherever they began.
function client!(r::FedALA, s, u, ctx)
    (; weights, jump, begun) = s.private
    view(u.delta, r.mixed) .+= jump
    return (; w = copy(ctx.w), stats = copy(ctx.stats), weights, begun), u
end

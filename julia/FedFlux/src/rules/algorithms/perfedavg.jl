# Per-FedAvg: Fallah, Mokhtari, Ozdaglar, Personalized Federated Learning: A Meta-Learning
# Approach, arXiv:2002.07948, Algorithm 1.

"""
    PerFedAvg(; alpha = 0.01, hessian = false, delta = 0.01)

A global model from which one gradient step leads to a good model of a client: clients take
steps of the meta-gradient

    w ← w − η (I − α ∇²Fₖ(w; D″)) ∇Fₖ(w − α ∇Fₖ(w; D); D′)

on three batches D, D′ and D″, with their learning rate η. By default the Hessian is
left out (FO in the paper), and two local steps make one meta-step; with `hessian = true`
(HF) the product is a difference of two gradients, at `w ± d` with `‖d‖ = delta`, and
three local steps make one meta-step. Local steps that are left over at the end of a round
change nothing.

A client's personal model is one step of size α, on one batch, from the model that it
received. Throws a [`FedFluxError`](@ref) for clients that don't train with plain SGD, or
with fewer steps than a meta-step has.

Fallah et al., arXiv:2002.07948, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (PerFedAvg(alpha = 0.05),), epochs = 2)
```
"""
Base.@kwdef struct PerFedAvg <: Rule
    alpha::Float32 = 0.01
    hessian::Bool = false
    delta::Float32 = 0.01
end

prepare(r::PerFedAvg, layout, training) = (check_sgd("PerFedAvg", training); r)

personalises(::PerFedAvg) = true

"The number of local steps that make one meta-step."
cycle(r::PerFedAvg) = r.hessian ? 3 : 2

function receive!(r::PerFedAvg, s, m, ctx, own)
    ctx.steps >= cycle(r) || fail("rule PerFedAvg needs at least ", cycle(r), " local ",
        "steps, and client ", ctx.client, " takes ", ctx.steps,
        ": use more epochs, or ",
        "smaller batches")
    personal = deepcopy(m)
    factor = ctx.lr == 0 ? 0.0f0 : r.alpha / ctx.lr
    train!((g, w) -> g .*= factor, own, personal; epochs = 1, maxsteps = 1)
    scratch = r.hessian ? 4 : 1
    return (; personal..., gradients = [similar(ctx.θ) for _ = 1:scratch])
end

# A step of the optimizer is w ← w − η g. The first of a meta-step goes to w − α g,
# and the second (or third) goes on from where the first began.
function correct!(r::PerFedAvg, s, g, w, ctx)
    (; gradients) = s.private
    at, factor = mod1(ctx.step, cycle(r)), r.alpha / ctx.lr
    ctx.step > ctx.steps - ctx.steps % cycle(r) && return fill!(g, 0)     # left over
    ctx.lr == 0 && return g
    if at == 1
        copyto!(gradients[1], g)
        @. g *= factor
    elseif !r.hessian
        @. g -= factor * $first(gradients)
    else
        at == 2 ? go_back!(g, gradients, factor) : meta_gradient!(r, g, w, gradients, ctx)
    end
    return g
end

"Keep the gradient at w − α g, and go back to w."
function go_back!(g, gradients, factor)
    start, meta = gradients
    copyto!(meta, g)
    @. g = -factor * start
end

"(I − α ∇²F) v for the gradient v that was kept, by a difference of gradients."
function meta_gradient!(r::PerFedAvg, g, w, gradients, ctx)
    point, v, ahead, behind = gradients
    d = r.delta / max(norm(v), 1.0f-12)
    @. point = w + d * v
    ctx.regrad!(ahead, point)
    @. point = w - d * v
    ctx.regrad!(behind, point)
    @. g = v - r.alpha * (ahead - behind) / (2 * d)
end

client!(::PerFedAvg, s, u, ctx) = ((; s.private.w, s.private.stats), u)

personal!(::PerFedAvg, private, m) = copy_personal!(m, private)

# MOON: Li, He, Song, Model-Contrastive Federated Learning, arXiv:2103.16257, Algorithm 1.

"""
    MOON(; mu = 1, tau = 0.5)

Model-contrastive learning: the loss of a sample gets the term

    −μ log( e^{cos(h, h_θ)/τ} / (e^{cos(h, h_θ)/τ} + e^{cos(h, h_old)/τ}) ),

which pulls the features h, what the last layer takes, to those of the global model θ, and
pushes them away from those of the model that the client itself had at the end of its last
round. Both are in test mode. In a client's first round the term has no gradient. The paper
has μ between 0.1 and 10, and a projection before the features; here they are the model's
own. `mu = 0` is FedAvg. Costs two more forward passes per step; each client keeps a model.
Needs cross-entropy on integer labels. Throws a [`FedFluxError`](@ref) for a model that
doesn't end with a linear Dense layer with a bias, or has no other layer.

Li, He, Song, arXiv:2103.16257, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (MOON(mu = 1),))
```
"""
Base.@kwdef struct MOON <: Rule
    mu::Float32 = 1
    tau::Float32 = 0.5
end

check_model(r::MOON, model) = check_linear_end(r, model)

function prepare(r::MOON, layout, training)
    length(layout.slots) > 2 || fail("rule MOON compares what the last layer takes: ",
        "expected a model with parameters before it, such as an mlp")
    return r
end

teaches(::MOON) = true

function teachers(::MOON, s, ctx)
    received = (; w = ctx.θ, ctx.stats)
    return received, something(s.private, received)
end

function teach!(r::MOON, s, student, teachers, labels, ctx)
    (; h, dh) = student
    near, far = teachers[1].h, teachers[2].h
    term, n = 0.0f0, length(labels)
    for j = 1:n
        a, b = cosine(h, near, j), cosine(h, far, j)
        # −log(eᵃ/(eᵃ + eᵇ)) with both over τ, and its derivative in b
        lead = (b.cos - a.cos) / r.tau
        term += max(lead, 0.0f0) + log1p(exp(-abs(lead)))
        slope = r.mu / (n * r.tau) / (1 + exp(-lead))
        for i in axes(h, 1)
            dh[i, j] +=
                slope * (slope_of(b, h[i, j], far[i, j]) -
                         slope_of(a, h[i, j], near[i, j]))
        end
    end
    return r.mu / n * term
end

"The cosine of columns j, with their norms; 0 for features that are all zero."
function cosine(h, k, j)
    product = hh = kk = 0.0f0
    for i in axes(h, 1)
        product += h[i, j] * k[i, j]
        hh += h[i, j]^2
        kk += k[i, j]^2
    end
    norms = sqrt(hh * kk)
    zero_norm = norms < 1.0f-12
    return (; cos = zero_norm ? 0.0f0 : product / norms, hh, norms, zero_norm)
end

"The derivative of a cosine in the coordinate `h`, whose counterpart is `k`."
slope_of(c, h, k) = c.zero_norm ? 0.0f0 : k / c.norms - c.cos * h / c.hh

client!(::MOON, s, u, ctx) = ((; w = copy(ctx.w), stats = copy(ctx.stats)), u)

# FedNTD: Lee et al., Preservation of the Global Knowledge by Not-True Distillation in
# Federated Learning, arXiv:2106.03097, Algorithm 1.

"""
    FedNTD(; beta = 1, tau = 1)

Not-true distillation: clients keep what the global model θ knows of the classes that a
sample does not have. The loss of a sample with label y gets the term

    β τ² · KL( softmax(z_θ∖y / τ) ‖ softmax(z∖y / τ) ),

where z and z_θ are the logits of the client's and of the global model, without that of
class y. θ is in test mode. `beta = 0` is FedAvg. Costs one more forward pass per step.
Needs cross-entropy on integer labels. Throws a [`FedFluxError`](@ref) for a model that
doesn't end with a linear Dense layer with a bias.

Lee et al., arXiv:2106.03097, Algorithm 1.

```julia
Federated(softmax_regression(4, 2); rules = (FedNTD(beta = 1),))
```
"""
Base.@kwdef struct FedNTD <: Rule
    beta::Float32 = 1
    tau::Float32 = 1
end

check_model(r::FedNTD, model) = check_linear_end(r, model)

teaches(::FedNTD) = true

teachers(::FedNTD, s, ctx) = ((; w = ctx.θ, ctx.stats),)

function teach!(r::FedNTD, s, student, teachers, labels, ctx)
    (; z, dz) = student
    known = teachers[1].z
    term, n = 0.0f0, length(labels)
    for (j, label) in enumerate(labels)
        y = label + 1
        top, sum = not_true(z, j, y, r.tau)
        known_top, known_sum = not_true(known, j, y, r.tau)
        for c in axes(z, 1)
            c == y && continue
            log_p = (z[c, j] - top) / r.tau - log(sum)
            log_q = (known[c, j] - known_top) / r.tau - log(known_sum)
            q = exp(log_q)
            term += q * (log_q - log_p)
            dz[c, j] += r.beta * r.tau / n * (exp(log_p) - q)
        end
    end
    return r.beta * r.tau^2 / n * term
end

"The largest logit of column j without row y, and the sum of exp((z − that)/τ)."
function not_true(z, j, y, τ)
    top = -Inf32
    for c in axes(z, 1)
        c == y || (top = max(top, z[c, j]))
    end
    sum = 0.0f0
    for c in axes(z, 1)
        c == y || (sum += exp((z[c, j] - top) / τ))
    end
    return top, sum
end

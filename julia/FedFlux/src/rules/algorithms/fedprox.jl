# FedProx: Li et al., Federated Optimization in Heterogeneous Networks, arXiv:1812.06127,
# Algorithm 2.

"""
    FedProx(; mu = 0.01)

Each client minimizes `Fₖ(w) + μ/2 ‖w − θ‖²`: the term `μ (w − θ)` in the gradient keeps
clients with different data near the global model θ. `mu = 0` is FedAvg, bit for bit.

Li et al., arXiv:1812.06127, Algorithm 2.

```julia
Federated(softmax_regression(4, 2); rules = (FedProx(mu = 0.1),))
```
"""
Base.@kwdef struct FedProx <: Rule
    mu::Float32 = 0.01
end

correct!(r::FedProx, s, g, w, ctx) = @. g += r.mu * (w - ctx.θ)

# FedBN: Li et al., FedBN: Federated Learning on Non-IID Features via Local Batch Normalization, arXiv:2102.07623.

"""
    FedBN()

Normalisation layers (Flux's BatchNorm, GroupNorm, InstanceNorm) are private, with their running statistics; everything else is
shared. For clients whose inputs look different. Throws a [`FedFluxError`](@ref) for a model without such layers. Li et al.,
arXiv:2102.07623.

```julia
Federated(Chain(Dense(4 => 8), BatchNorm(8, relu), Dense(8 => 2)); rules = (FedBN(),))
```
"""
struct FedBN <: PrivateArrays
    held::Held
end

FedBN() = FedBN(Held([], [], true))

construct(::Val{:rule}, ::Val{:fedbn}) = FedBN()

# β and γ are what Flux calls the shift and the scale of these layers, and of no others.
prepare(::FedBN, layout, training) = FedBN(Held(s -> last(rsplit(s.name, '.'; limit = 2)) in ("β", "γ"), "FedBN", layout; stats = true))

# FedBN: Li et al., FedBN: Federated Learning on Non-IID Features via Local Batch
# Normalization, arXiv:2102.07623.

"""
    FedBN()

Normalization layers (Flux's BatchNorm, GroupNorm and InstanceNorm) are private, with their
running statistics; all other layers are shared. For clients whose inputs look different.
Throws a [`FedFluxError`](@ref) for a model without such layers.

Li et al., arXiv:2102.07623.

```julia
Federated(Chain(Dense(4 => 8), BatchNorm(8, relu), Dense(8 => 2)); rules = (FedBN(),))
```
"""
struct FedBN <: PrivateArrays
    arrays::LocalArrays
end

FedBN() = FedBN(LocalArrays())

# β and γ are Flux's names for the shift and the scale of these layers, and of no others.
is_norm(slot) = last(rsplit(slot.name, '.'; limit = 2)) in ("β", "γ")

prepare(::FedBN, layout, training) =
    FedBN(LocalArrays(is_norm, "FedBN", layout; stats = true))

local_arrays(r::FedBN) = r.arrays

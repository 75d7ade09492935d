# FedPer: Arivazhagan et al., Federated Learning with Personalization Layers,
# arXiv:1912.00818.

"""
    FedPer(; head = 1, arrays = String[])

The last `head` layers with parameters are private, the others shared. A client trains both
at once. `arrays` selects the private arrays by the beginnings of their names instead. The
clients' own models are what counts: the history has `personal_accuracy`. Throws a
[`FedFluxError`](@ref) if no array or every array would be private.

Arivazhagan et al., arXiv:1912.00818.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedPer(),))
```
"""
struct FedPer <: HeadRule
    head::Int
    arrays::Vector{String}
    private::LocalArrays
end

FedPer(; head = 1, arrays = String[]) = FedPer(head, arrays, LocalArrays())

# FedRep: Collins et al., Exploiting Shared Representations for Personalized Federated
# Learning, arXiv:2102.07078, Algorithm 1.

"""
    FedRep(; head = 1, arrays = String[], head_epochs = 1)

A private head, as in [`FedPer`](@ref), but each round a client first trains the head alone
for `head_epochs` (the paper: 10), and then, with the head fixed, the shared body for its
local epochs.

Collins et al., arXiv:2102.07078, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedRep(head_epochs = 5),))
```
"""
struct FedRep <: HeadRule
    head::Int
    arrays::Vector{String}
    head_epochs::Int
    private::LocalArrays
end

FedRep(; head = 1, arrays = String[], head_epochs = 1) =
    FedRep(head, arrays, head_epochs, LocalArrays())

function receive!(r::FedRep, s, m, ctx, own)
    personal!(r, s.private, m)
    freeze_body(g, w) = fill!(view(g, r.private.shared), 0)
    train!(freeze_body, own, m; epochs = r.head_epochs, maxsteps = typemax(Int))
    return s.private
end

correct!(r::FedRep, s, g, w, ctx) = hide!(r, nothing, g)

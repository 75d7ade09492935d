# FedBABU: Oh, Kim, Yun, FedBABU: Towards Enhanced Representation for Federated Image
# Classification, arXiv:2106.06042, Algorithm 1.

"""
    FedBABU(; head = 1, arrays = String[])

The body is trained and averaged, and the head keeps its initial values in the whole
federation: neither clients nor the server change it, and it isn't sent. What clients want
for themselves they get after the run, by fine-tuning (`finetune_epochs`). `head` and
`arrays` select the head as in [`FedPer`](@ref). Throws a [`FedFluxError`](@ref) if no array
or every array would be in the head.

Oh et al., arXiv:2106.06042, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedBABU(),))
```
"""
struct FedBABU <: HeadRule
    head::Int
    arrays::Vector{String}
    private::LocalArrays
end

FedBABU(; head = 1, arrays = String[]) = FedBABU(head, arrays, LocalArrays())

# The head is nobody's own.
personalises(::FedBABU) = false
personal!(::FedBABU, private, m) = m

correct!(r::FedBABU, s, g, w, ctx) = hide!(r, nothing, g)

# All that a client keeps is that it has the head.
client!(r::FedBABU, s, u, ctx) = (true, without_private(r, u, ctx.layout))

# LG-FedAvg: Liang et al., Think Locally, Act Globally: Federated Learning with Local and
# Global Representations, arXiv:2001.01523, Algorithm 1.

"""
    LGFedAvg(; head = 1)

[`FedPer`](@ref) turned over: the last `head` layers with parameters are shared, and all
layers before them are private. Each client learns a representation of its own, and only the
small head travels. Throws a [`FedFluxError`](@ref) if no layer would be private.

Liang et al., arXiv:2001.01523, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (LGFedAvg(),))
```
"""
struct LGFedAvg <: PrivateArrays
    head::Int
    private::LocalArrays
end

LGFedAvg(; head = 1) = LGFedAvg(head, LocalArrays())

function prepare(r::LGFedAvg, layout, training)
    private = LocalArrays(!in_head(layout, r.head, String[]), "LGFedAvg", layout)
    return LGFedAvg(r.head, private)
end

local_arrays(r::LGFedAvg) = r.private

# Samples that are set aside for validation: a share of all, or of each client's.

"""
    validation_share(clients, share, seed) -> (clients, indices)

Set `share` of all samples that clients hold aside, drawn by the seed: at least one, and
never a client's last one. The clients of the result don't hold them. Throws a
[`FedFluxError`](@ref) if there are not so many to spare.

```julia
clients = Clients(rand(Float32, 8, 10), repeat([0, 1], 5), [1:4, 5:10])
FedFlux.validation_share(clients, 0.2, 0)
```
"""
function validation_share(clients::Clients, share, seed)
    held = sort!(unique(clients.order))
    n = max(round(Int, share * length(held)), 1)
    drawn = shuffle!(Stream(seed, :validation), copy(held))
    apart = spare_samples(clients, drawn, n, "validation is $share, whose size")
    return without(clients, apart), sort!(collect(apart))
end

"""
    client_validation_share(clients, share, seed) -> (clients, indices)

Set `share` of each client's samples aside, as [`hold_out`](@ref) does, for all together.
"""
function client_validation_share(clients::Clients, share, seed)
    clients, own = hold_out(clients, share, seed, :client_validation)
    apart = sort!(unique(concatenated(Int, own.parts)))
    isempty(apart) && fail("client_validation is ", share, ", and no client has two ",
        "samples, one to train on and one to validate on")
    return clients, apart
end

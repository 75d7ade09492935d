"""
    combine_updates(a::Aggregator, updates; weights = ones, threads = 1, given = nothing)

What the aggregator makes of `updates`, NamedTuples of Float32 vectors; `nothing` where it can make nothing of them.

- `weights`: a number ≥ 0 for each.  `threads`: that it may use; the result doesn't depend on it.
- `given`: for [`FLTrust`](@ref) the server's own update, for [`CenteredClipping`](@ref) the last result, each as one vector.

Throws a [`FedFluxError`](@ref) for updates of different slots, and for fewer than the aggregator needs.

```julia
combine_updates(Median(), [(; delta = Float32[k, 1]) for k in (1, 2, 100)])     # (delta = Float32[2, 1],)
```
"""
function combine_updates(a::Aggregator, updates; weights = ones(length(updates)), threads = 1, given = nothing)
    isempty(updates) && return nothing
    length(weights) == length(updates) || fail("combine_updates: ", length(updates), " updates and ", length(weights), " weights")
    like = map(length, first(updates))
    acc = start(a, nothing, length(updates), given)
    for (i, (u, weight)) in enumerate(zip(updates, weights))
        map(length, u) == like || fail("combine_updates: update ", i, " has slots ", map(length, u), ", and the first ", like)
        acc = add!(a, acc, i, u, weight)
    end
    return finish(a, acc, threads)
end

"""
    set_aside(clients, n, seed) -> (clients, root)

`n` samples, drawn from all that clients hold, as the server's own; the clients without them.
"""
function set_aside(clients::Clients, n, seed)
    held = sort!(unique(clients.order))
    n < length(held) || fail("fltrust: root is ", n, ", and there are ", length(held), " training samples")
    root = sort!(shuffle!(Stream(seed, :root), held)[1:n])
    return Clients(clients.x, clients.y, [setdiff(indices(clients, k), root) for k in 1:length(clients)]), root
end

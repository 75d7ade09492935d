# Test data of each client's own: samples that it keeps from training, or test samples that
# have an owner.

"""
    OwnTest(parts, trained)

The test samples of each client's own: `parts` holds a list of indices for each client,
which may be empty. They count the training samples if `trained` is true, and the test
samples if it is false.
"""
struct OwnTest
    parts::Vector{Vector{Int}}
    trained::Bool
end

"""
    hold_out(clients, share, seed, purpose = :client_test) -> (clients, OwnTest)

Set `share` of each client's samples aside as its own test data, drawn by the seed: at least
one, but never the last one. The clients of the result don't hold them; what stays keeps its
order. A sample that stands twice in a client's list leaves it twice.

```julia
clients = Clients(rand(Float32, 8, 10), repeat([0, 1], 5), [1:4, 5:10])
FedFlux.hold_out(clients, 0.5, 0)
```
"""
function hold_out(clients::Clients, share, seed, purpose = :client_test)
    drawn(k) = shuffle!(Stream(seed, purpose, 0, k), unique(indices(clients, k)))
    apart = map(1:length(clients)) do k
        samples = drawn(k)
        n = max(round(Int, share * length(samples)), 1)
        return Set(first(samples, min(n, length(samples) - 1)))
    end
    keep(f) = [filter(f(apart[k]), indices(clients, k)) for k = 1:length(clients)]
    without = Clients(clients.x, clients.y, keep(a -> !in(a)))
    return without, OwnTest(map(unique, keep(in)), true)
end

"""
    owned_test(names, owner_test; warn) -> OwnTest

The test samples by their owners, for the clients of these names. A sample whose owner is no
client belongs to nobody, with a warning. Throws a [`FedFluxError`](@ref) if all do.
"""
function owned_test(names, owner_test; warn = Returns(nothing))
    number = Dict(zip(names, 1:length(names)))
    parts = [Int[] for _ in names]
    for (i, owner) in enumerate(owner_test)
        haskey(number, owner) && push!(parts[number[owner]], i)
    end
    strangers = length(owner_test) - sum(length, parts)
    strangers == length(owner_test) &&
        fail("owner_test has no owner of a training sample: expected names as in owner, ",
            "such as ", repr(first(names)), ", got ", repr(first(owner_test)))
    strangers == 0 ||
        warn(
            "owner_test: $strangers test samples have owners without training samples, " *
            "so they are no client's own"
        )
    return OwnTest(parts, false)
end

"The clients with their own test samples in the place of those they train on."
function test_clients(own::OwnTest, x, y)
    starts = cumsum([1; length.(own.parts)])
    return Clients(x, y, concatenated(Int, own.parts), starts)
end

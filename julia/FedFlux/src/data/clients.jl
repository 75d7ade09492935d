# The clients' data: one array of samples, and the indices that each client holds. A client
# is a view, never a copy.

"""
    Clients(x, y, parts)
    Clients(x, y; owner)
    Clients([(x1, y1), (x2, y2), …])

The training data of all clients: samples `x` and targets `y` along the last dimension, and
for each client the indices of its samples. The second form makes one client per owner, in
sorted order. The third form joins the arrays of separate clients.

- `x`: Float32, (W, H, C, N) for images or (features, N).
- `y`: integer labels from 0, or numbers, (N) or (k, N).
- `parts`: one non-empty list of indices in 1:N for each client.
- `owner`: the owner of each sample, (N): numbers or names.

The field `root` holds the indices of the samples that the server holds itself, for
aggregators that train on root data. It is empty by default; see [`set_aside`](@ref).

Throws a [`FedFluxError`](@ref) if lengths do not match or a client has no samples.

```julia
Clients(rand(Float32, 8, 6), [0, 1, 0, 1, 0, 1], [1:3, 4:6])
```
"""
struct Clients
    x::AbstractArray       # of any type: rounds are compiled once for all
    y::AbstractArray
    order::Vector{Int}     # client k holds order[starts[k]:starts[k+1]-1]
    starts::Vector{Int}
    root::Vector{Int}      # the samples that the server holds itself
end

Clients(x::AbstractArray, y::AbstractArray, order::Vector{Int}, starts::Vector{Int}) =
    Clients(x, y, order, starts, Int[])

function Clients(x::AbstractArray, y::AbstractArray, parts)
    n = numobs(x)
    numobs(y) == n ||
        fail("there are ", n, " samples and ", numobs(y),
            " targets; expected the same number of each")
    isempty(parts) && fail("there are no clients: expected one list of indices per client")
    for (k, part) in enumerate(parts)
        isempty(part) &&
            fail("client ", k, " holds no samples; every client needs at least one")
        all(in(1:n), part) ||
            fail("client ", k, " holds sample ", first(Iterators.filter(!in(1:n), part)),
                "; expected indices in 1:", n)
    end
    return Clients(x, y, concatenated(Int, parts), cumsum([1; length.(parts)]))
end

function Clients(pairs::AbstractVector{<:Tuple})
    isempty(pairs) && fail("there are no clients: expected one (x, y) per client")
    check_one_size("x", first.(pairs))
    check_one_size("y", last.(pairs))
    return Clients(join_last(first.(pairs)), join_last(last.(pairs)),
        consecutive([numobs(y) for (_, y) in pairs]))
end

function check_one_size(name, arrays)
    dims = size(first(arrays))[1:(end-1)]
    k = findfirst(a -> size(a)[1:(end-1)] != dims, arrays)
    k === nothing || fail(name, " of client ", k, " has size ", size(arrays[k]),
        "; expected ", join((dims..., "n"), " × "), ", as for client 1")
end

Base.length(c::Clients) = length(c.starts) - 1
indices(c::Clients, k) = view(c.order, c.starts[k]:(c.starts[k+1]-1))
nsamples(c::Clients, k) = c.starts[k+1] - c.starts[k]
total_samples(c::Clients) = last(c.starts) - 1

"""
    absent_clients(samples, x, y; root = Int[]) -> Clients

Clients whose data is elsewhere: client k holds `samples[k]` of it. `x` and `y` are what the
server has itself, and `root` the indices of its root data there.
"""
absent_clients(samples, x, y; root = Int[]) =
    Clients(x, y, Int[], cumsum([1; samples]), root)

"""
    lone_client(x, y, k, N) -> Clients

`N` clients as client `k` knows them: it holds all of `x` and `y`, and nobody else anything.
"""
lone_client(x, y, k, N) = Clients(x, y, collect(1:numobs(x)),
    [j <= k ? 1 : numobs(x) + 1 for j = 1:(N+1)])

Base.show(io::IO, c::Clients) =
    print(io, "Clients(", length(c), " clients, ", total_samples(c), " samples of size ",
        size(c.x)[1:(end-1)], ")")

"""
    set_aside(clients, n, seed) -> Clients

Move `n` samples, drawn from all that the clients hold, to the server: the result's clients
do not hold them, and its `root` lists them. A sample that is the last one of a client is
passed over for the next in the drawn order, so every client keeps one. What stays with a
client keeps its order, and an index that stands there twice still does.

Throws a [`FedFluxError`](@ref) if fewer than `n` samples can be taken so.
"""
function set_aside(clients::Clients, n, seed)
    held = sort!(unique(clients.order))
    n < length(held) ||
        fail("fltrust: root is ", n, ", and there are ", length(held), " training samples")
    root = spare_samples(clients, shuffle!(Stream(seed, :root), held), n, "fltrust: root")
    rest = without(clients, root)
    return Clients(rest.x, rest.y, rest.order, rest.starts, sort!(collect(root)))
end

"The clients without these samples."
without(clients::Clients, samples) = Clients(clients.x, clients.y,
    [filter(!in(samples), indices(clients, k)) for k = 1:length(clients)])

"""
The first `n` of `samples` that can be taken and leave every client one. Throws a
[`FedFluxError`](@ref) that begins with `what` if there are fewer.
"""
function spare_samples(clients, samples, n, what)
    spare = Set(first(spare_samples(clients, samples), n))
    length(spare) == n ||
        fail(what, " is ", n, ", and only ", length(spare), " samples can be set ",
            "aside, since each of the ", length(clients), " clients keeps one of its own")
    return spare
end

"Those of `samples`, in order, that can all be taken and leave every client at least one."
function spare_samples(clients, samples)
    holders = Dict(i => Int[] for i in samples)     # a client once for each time
    for k = 1:length(clients), i in indices(clients, k)
        push!(holders[i], k)
    end
    left = [nsamples(clients, k) for k = 1:length(clients)]
    spare(i) = all(k -> left[k] > count(==(k), holders[i]), holders[i])
    return filter(samples) do i
        taken = spare(i)
        taken && foreach(k -> left[k] -= 1, holders[i])
        return taken
    end
end

"""
    labelcounts(clients, nclasses) -> Matrix{Int}

The number of samples of each class that each client holds, (nclasses, clients). If a sample
has several labels, each of them counts.
"""
labelcounts(c::Clients, nclasses::Integer) = labelcounts(c, c.y, nclasses)

function labelcounts(c::Clients, y, nclasses)
    counts = zeros(Int, nclasses, length(c))
    for k = 1:length(c), i in indices(c, k), label in getobs(y, i:i)
        counts[round(Int, label)+1, k] += 1
    end
    return counts
end

"The number of samples of each class that all clients hold together, (nclasses)."
function classcounts(c::Clients, nclasses::Integer)
    counts = zeros(Int, nclasses)
    for i in c.order, label in getobs(c.y, i:i)
        counts[round(Int, label)+1] += 1
    end
    return counts
end

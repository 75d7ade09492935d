# Pruning: the server decides which parameters are zero from now on. Clients keep them at
# zero, and nobody sends them again.

"""
    Pruning <: Rule

A rule with which the server prunes parameters on a schedule. A pruning rule has the fields
`final`, `start` and `stop` and implements `choose(r, kept, θ, sparsity, ctx)`: the further
indices to prune, given the new global parameters `θ` and the indices `kept` that are not
pruned yet. Arrays that are private to the clients are none of these: the server knows
untrained values of theirs only (`ctx.known`, see [`Rule`](@ref)).

The server's state holds for each parameter the round in which it was pruned, 0 if it is
kept. A client's state is the last round in which it took part: the client receives the kept
parameters, and the indices that were pruned since. Place pruning after the algorithms and
before compression, which then encodes only the kept parameters.
"""
abstract type Pruning <: Rule end

init(::Pruning, θ) = (zeros(Int32, length(θ)), 0)

# A pruned parameter is zero, and so is its gradient. So it stays zero under any optimizer.
correct!(r::Pruning, s, g, w, ctx) = hide!(r, s.shared, g)

function client!(::Pruning, s, u, ctx)
    all(iszero, s.shared) && return ctx.round, u
    kept = findall(iszero, s.shared)
    masked = map_parameters(u, length(s.shared)) do _, v
        Masked(ifelse.(s.shared .== 0, v, 0.0f0), v isa Masked ? v.kept ∩ kept : kept)
    end
    return ctx.round, masked
end

for_client(::Pruning, rounds, client) = rounds
function kept(::Pruning, rounds, name, known)
    all(iszero, rounds) && return known
    left = findall(iszero, rounds)
    return known === nothing ? left : known ∩ left
end

hide!(::Pruning, shared, v) = v .= ifelse.(shared .== 0, v, 0.0f0)

function publish!(r::Pruning, s, Δ, ctx)
    θ = ctx.θ .+ Δ
    kept = findall(iszero, s.shared)
    prunable = ctx.known === nothing ? kept : kept ∩ ctx.known
    pruned = choose(r, prunable, θ, cubic(r.final, r.start, r.stop, ctx.round), ctx)
    length(kept) == length(θ) && isempty(pruned) && return s.shared, Δ
    rounds = copy(s.shared)
    rounds[pruned] .= ctx.round
    return rounds, Masked(ifelse.(rounds .== 0, Δ, .-ctx.θ), findall(iszero, rounds))
end

function download_bytes(::Pruning, s, bytes, ctx)
    kept = count(iszero, s.shared)
    kept == length(s.shared) && return bytes
    news = findall(>=(max(s.private, 1)), s.shared)
    return min(bytes, 4kept) + (isempty(news) ? 0 : indices_size(news, length(s.shared)))
end

indices_size(indices, n) = (w = Writer(); writeindices!(w, indices, n); length(w.bytes))

"""
The fraction to be pruned by the end of a round: cubic, from 0 before `start` to `final` in
`stop` (arXiv:1710.01878, Equation 1).
"""
cubic(final, start, stop, round) =
    final * (1 - (1 - clamp((round - start + 1) / (stop - start + 1), 0, 1))^3)

function check_schedule(name, part, what, start, stop)
    0 <= part < 1 ||
        fail(what, " of ", name, " is ", part, "; expected at least 0 and less than 1")
    1 <= start <= stop ||
        fail("start and stop of ", name, " are ", start, " and ", stop,
            "; expected rounds from 1, and start not after stop")
end

"""
    Prune(sparsity; start = 1, stop = 10)

Magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878): the smallest of all weights
(arrays of two or more dimensions that clients share) become and stay zero. From round
`start` to round `stop` the fraction of zeros grows to `sparsity` on the paper's cubic
schedule. After that upload and download cost `1 - sparsity` of the bytes.

```julia
Federated(case_study_cnn(); rules = (Prune(0.9; stop = 20),))
```
"""
struct Prune <: Pruning
    final::Float64
    start::Int
    stop::Int
    function Prune(sparsity; start = 1, stop = 10)
        check_schedule("prune", sparsity, "sparsity", start, stop)
        return new(sparsity, start, stop)
    end
end

construct(::Val{:rule}, ::Val{:prune}; sparsity, start, stop) = Prune(sparsity; start, stop)

function choose(::Prune, kept, θ, sparsity, ctx)
    weights = falses(length(θ))
    for slot in ctx.layout.slots
        length(slot.dims) >= 2 && (weights[slot.range] .= true)
    end
    ctx.known === nothing || (weights[setdiff(eachindex(θ), ctx.known)] .= false)
    prunable = filter(i -> weights[i], kept)
    already = count(weights) - length(prunable)
    more = max(0, round(Int, sparsity * count(weights)) - already)
    stay = largest(view(θ, prunable), length(prunable) - more)
    return deleteat!(prunable, stay)
end

# Pruning: the server decides which parameters are zero from now on; clients keep them there, and nobody sends them again.

"""
    Pruning <: Rule

A rule by which the server prunes parameters on a schedule. A pruning implements `choose(r, kept, θ, sparsity, ctx)`: the
indices to prune besides those that are pruned already, for the new global parameters `θ`, of which `kept` are left. It has
the fields `final`, `start` and `stop`.

The server's state tells for each parameter in which round it was pruned, 0 where it is kept. A client's is the last round
that it took part in: it receives the parameters that are kept, and those indices that were pruned since. Place it after the
algorithms and before compression, which then encodes only what is kept.
"""
abstract type Pruning <: Rule end

place(::Pruning) = 1
init(::Pruning, θ) = (zeros(Int32, length(θ)), 0)

# What is pruned is zero, and its gradient is too: so it stays zero under any optimiser.
correct!(::Pruning, s, g, w, ctx) = g .= ifelse.(s.shared .== 0, g, 0.0f0)

function client!(::Pruning, s, u, ctx)
    all(iszero, s.shared) && return ctx.round, u
    kept = findall(iszero, s.shared)
    names = filter(name -> length(u[name]) == length(s.shared), keys(u))
    masked = map(name -> Masked(ifelse.(s.shared .== 0, u[name], 0.0f0), kept), names)
    return ctx.round, merge(u, NamedTuple{names}(masked))
end

function publish!(r::Pruning, s, Δ, ctx)
    θ = ctx.θ .+ Δ
    kept = findall(iszero, s.shared)
    pruned = choose(r, kept, θ, cubic(r.final, r.start, r.stop, ctx.round), ctx)
    length(kept) == length(θ) && isempty(pruned) && return s.shared, Δ
    rounds = copy(s.shared)
    rounds[pruned] .= ctx.round
    return rounds, Masked(ifelse.(rounds .== 0, Δ, .-ctx.θ), findall(iszero, rounds))
end

function received(::Pruning, s, bytes, ctx)
    kept = count(iszero, s.shared)
    kept == length(s.shared) && return bytes
    news = findall(>=(max(s.private, 1)), s.shared)
    return min(bytes, 4kept) + (isempty(news) ? 0 : indices_size(news, length(s.shared)))
end

indices_size(indices, n) = (w = Writer(); writeindices!(w, indices, n); length(w.bytes))

"The part to be pruned by the end of a round: cubic from 0 before `start` to `final` in `stop` (arXiv:1710.01878, Equation 1)."
cubic(final, start, stop, round) = final * (1 - (1 - clamp((round - start + 1) / (stop - start + 1), 0, 1))^3)

function check_schedule(name, part, what, start, stop)
    0 <= part < 1 || fail(what, " of ", name, " is ", part, "; expected at least 0 and less than 1")
    1 <= start <= stop || fail("start and stop of ", name, " are ", start, " and ", stop, "; expected rounds, the first not after the last")
end

"""
    Prune(sparsity; start = 1, stop = 10)

Magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878): of all weights (arrays of two or more dimensions) the smallest
become and stay zero, `sparsity` of them in the end. From round `start` to round `stop` the part grows by their cubic
schedule. After that both directions cost `1 - sparsity` of the bytes.

```julia
Federated(case_study_cnn(); rules = (Prune(0.9; stop = 20),))
```
"""
struct Prune <: Pruning
    final::Float64
    start::Int
    stop::Int
    Prune(sparsity; start = 1, stop = 10) = (check_schedule("prune", sparsity, "sparsity", start, stop); new(sparsity, start, stop))
end

construct(::Val{:rule}, ::Val{:prune}; sparsity, start, stop) = Prune(sparsity; start, stop)

function choose(::Prune, kept, θ, sparsity, ctx)
    weights = falses(length(θ))
    foreach(slot -> length(slot.dims) >= 2 && (weights[slot.range] .= true), ctx.layout.slots)
    prunable = filter(i -> weights[i], kept)
    already = count(weights) - length(prunable)
    more = max(0, round(Int, sparsity * count(weights)) - already)
    stay = largest(view(θ, prunable), length(prunable) - more)
    return deleteat!(prunable, stay)
end

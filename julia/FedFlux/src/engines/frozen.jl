# A model of which only some arrays train: an engine around the model's own.

"""
    FrozenEngine(inner, model, freeze)

The engine of a `model` of which the arrays that `freeze` names stay as they are, around its
engine `inner` for all parameters. Its flat vectors hold those that train.
"""
struct FrozenEngine{E<:Engine} <: Engine
    inner::E
    ranges::Vector{UnitRange{Int}}     # in the vectors of `inner`, of what trains
    w::Vector{Float32}                 # all parameters, in the order of `inner`
    g::Vector{Float32}
    order::Vector{Int}     # where the values of `inner`'s order stand in the model's
    source::Base.RefValue{Any}         # the data and the samples of the last batch
end

function FrozenEngine(inner::Engine, model, freeze)
    all = Layout(model)
    ranges = [s.range for s in all.slots if !is_named(s.name, freeze)]
    w = to_engine!(zeros(Float32, all.n), inner, flatten(model))
    n = sum(length, ranges)
    # An array keeps its range in either order, so a vector that is as long will do.
    numbers = to_engine!(zeros(Float64, all.n), inner, collect(Float64, 1:all.n))
    place = zeros(Int, all.n)
    place[concatenated(Int, ranges)] = 1:n
    order = [place[Int(i)] for r in ranges for i in numbers[r]]
    return FrozenEngine(inner, ranges, w, zeros(Float32, all.n), order, Ref{Any}())
end

"What trains, out of a vector of all parameters."
function gather_trained!(v, e::FrozenEngine, all)
    at = 0
    for range in e.ranges
        copyto!(v, at + 1, all, first(range), length(range))
        at += length(range)
    end
    return v
end

"A vector of all parameters, with `v` in the places of what trains."
function with_trained!(all, e::FrozenEngine, v)
    at = 0
    for range in e.ranges
        copyto!(all, first(range), v, at + 1, length(range))
        at += length(range)
    end
    return all
end

nparams(e::FrozenEngine) = length(e.order)
nstats(e::FrozenEngine) = nstats(e.inner)
stats!(s, e::FrozenEngine) = stats!(s, e.inner)
setstats!(e::FrozenEngine, s) = setstats!(e.inner, s)
reseed!(e::FrozenEngine, rng) = reseed!(e.inner, rng)
maxbatch(e::FrozenEngine) = maxbatch(e.inner)

to_engine!(w, e::FrozenEngine, θ) = (w .= view(θ, e.order); w)
to_model!(θ, e::FrozenEngine, w) = (θ[e.order] = w; θ)

function batch(e::FrozenEngine, x, y, idx)
    e.source[] = (x, y, idx)
    return batch(e.inner, x, y, idx)
end

function valgrad!(e::FrozenEngine, g, w, x, y)
    loss = valgrad!(e.inner, e.g, with_trained!(e.w, e, w), x, y)
    gather_trained!(g, e, e.g)
    return loss
end

predict(e::FrozenEngine, w, x) = predict(e.inner, with_trained!(e.w, e, w), x)

# For rules that add to the loss.
ends_size(e::FrozenEngine) = ends_size(e.inner)
ends!(b::Ends, e::FrozenEngine, w, x) = ends!(b, e.inner, with_trained!(e.w, e, w), x)

function valgrad!(teach, e::FrozenEngine, g, w, x, y, b::Ends)
    loss = valgrad!(teach, e.inner, e.g, with_trained!(e.w, e, w), x, y, b)
    gather_trained!(g, e, e.g)
    return loss
end

# The definition itself, one example after another: the norm is that of what trains.
function clipped_gradient!(e::FrozenEngine, g, w, x, y, clip)
    x, y, idx = x isa Staged ? e.source[] : (x, y, 1:numobs(x))
    total, one = 0.0, similar(g)
    fill!(g, 0)
    for i in idx
        total += valgrad!(e, one, w, batch(e.inner, x, y, i:i)...)
        factor = clip_factor(sum(v -> abs2(Float64(v)), one; init = 0.0), clip)
        factor > 0 && (g .+= factor .* one)
    end
    return Float32(total / length(idx))
end

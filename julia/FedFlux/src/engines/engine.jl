# The engine: the loss of a batch and its gradient. The only thing that knows layers.

"""
    Engine

Computes the loss and its gradient for one batch, over flat vectors in the engine's own order. An engine implements

- `valgrad!(e, g, w, x, y) -> loss`: the gradient at parameters `w` into `g`, both of length `nparams(e)`;
- `predict(e, w, x) -> ŷ`: the outputs in test mode;
- `batch(e, x, y, idx) -> (x, y)`: the samples `idx` of the data, as its `valgrad!` and `predict` want them;
- `nparams(e)`, and where its order isn't the model's, `to_engine!(w, e, θ)` and `to_model!(θ, e, w)`;
- `maxbatch(e)` where a batch has a bound; `nstats(e)`, `stats!(s, e)`, `setstats!(e, s)` for what travels untrained, and `reseed!(e, rng)` for dropout.

One engine serves one task at a time.
"""
abstract type Engine end

nstats(::Engine) = 0
stats!(s, ::Engine) = s
setstats!(::Engine, s) = nothing
reseed!(::Engine, rng) = nothing
"The largest batch that the engine takes at once."
maxbatch(::Engine) = typemax(Int)
to_engine!(w, ::Engine, θ) = copyto!(w, θ)
to_model!(θ, ::Engine, w) = copyto!(θ, w)

batch(::Engine, x, y, idx) = (getobs(x, idx), getobs(y, idx))

"""
    ZygoteEngine(model, loss)

The engine for any Flux `model` and any `loss(ŷ, y)`, by Zygote's reverse mode. Works on a copy of the model.

```julia
e = ZygoteEngine(Chain(Dense(4 => 2)), CrossEntropy())
w = FedFlux.flatten(e.model); g = similar(w)
valgrad!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8))
```
"""
struct ZygoteEngine{M,L} <: Engine
    model::M
    loss::L
    params::Vector{AbstractArray}
    ranges::IdDict{Any,UnitRange{Int}}   # of each parameter array in the flat vector
    nstats::Int
end

function ZygoteEngine(model, loss)
    model = deepcopy(model)
    params = Optimisers.trainables(model)
    stops = cumsum(length.(params))
    ranges = IdDict{Any,UnitRange{Int}}(p => stop-length(p)+1:stop for (p, stop) in zip(params, stops))
    return ZygoteEngine(model, loss, params, ranges, sum(length, statistics(model); init = 0))
end

nparams(e::ZygoteEngine) = sum(length, e.params; init = 0)
nstats(e::ZygoteEngine) = e.nstats
# Flux replaces BatchNorm's arrays when it updates them, so they are looked up anew.
stats!(s, e::ZygoteEngine) = e.nstats == 0 ? s : gather!(s, statistics(e.model))
setstats!(e::ZygoteEngine, s) = e.nstats == 0 || scatter!(statistics(e.model), s)
# Flux's random layers draw from the task's generator by default; workers run in tasks of their own.
reseed!(::ZygoteEngine, rng) = Random.seed!(rand(rng, UInt64))

function valgrad!(e::ZygoteEngine, g, w, x, y)
    scatter!(e.params, w)
    loss, grads = Zygote.withgradient(m -> e.loss(m(x), y), e.model)
    fill!(g, 0)
    addgrad!(g, e.ranges, e.model, grads[1])
    return Float32(loss)
end

function predict(e::ZygoteEngine, w, x)
    scatter!(e.params, w)
    return e.model(x)
end

"Add the structural gradient `∇` of `node` into the flat `g`; an array that stands in the model twice gets both parts."
function addgrad!(g, ranges, node, ∇)
    ∇ === nothing && return g
    if haskey(ranges, node)
        view(g, ranges[node]) .+= vec(∇)
    elseif !Functors.isleaf(node)
        children = Functors.children(node)
        for key in keys(children)
            addgrad!(g, ranges, children[key], child(∇, key))
        end
    end
    return g
end

child(∇::Base.RefValue, key) = child(∇[], key)
child(∇::Union{NamedTuple,AbstractDict}, key) = get(∇, key, nothing)
child(∇::Union{Tuple,AbstractVector}, key) = ∇[key]
child(∇, key) = nothing

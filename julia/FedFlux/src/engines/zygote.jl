# The engine for any Flux model, on Zygote.

"""
    ZygoteEngine(model, loss)

The engine for any Flux `model` and any `loss(ŷ, y)`, by Zygote's reverse mode. Works on a
copy of the model. Flux's random layers draw from the task's generator; in `valgrad!` the
engine's own stands in its place, so that the task's stays as it was.

```julia
e = ZygoteEngine(Chain(Dense(4 => 2)), CrossEntropy())
w = FedFlux.flatten(e.model); g = similar(w)
valgrad!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8))
```
"""
struct ZygoteEngine <: Engine
    model::Any       # not in the type: training is compiled once, not for each model
    loss::Any
    params::Vector{AbstractArray}
    ranges::IdDict{Any,UnitRange{Int}}   # of each parameter array in the flat vector
    nstats::Int
    norms::Vector{Any}                   # layers with a running variance
    fixed::Vector{Pair{String,AbstractArray{Float32}}}   # what stays as it is, and must
    rng::Xoshiro
end

function ZygoteEngine(model, loss)
    fixed, model = fixed_arrays(model), in_vectors(deepcopy(model))
    params = Optimisers.trainables(model)
    nstats = sum(length, statistics(model); init = 0)
    norms = filter(has_variance, collect(Any, Flux.modules(model)))
    return ZygoteEngine(model, loss, params, ranges_of(params), nstats, norms, fixed,
        Xoshiro(0))
end

"""
The model with the layers of its chains and branches in vectors. What differentiates a
vector of layers is compiled once, and of a tuple anew for each model.
"""
in_vectors(l) = l
in_vectors(c::Chain) = Chain(Any[in_vectors(l) for l in values(c.layers)])
in_vectors(l::SkipConnection) =
    SkipConnection(Chain(Any[in_vectors(l.layers)]), l.connection)
in_vectors(l::Parallel) =
    Parallel(l.connection, Tuple(Chain(Any[in_vectors(b)]) for b in values(l.layers)))

has_variance(l) = hasproperty(l, :σ²) && l.σ² isa AbstractArray

nparams(e::ZygoteEngine) = sum(length, e.params; init = 0)
nstats(e::ZygoteEngine) = e.nstats
# Flux replaces BatchNorm's arrays when it updates them, so they are looked up anew.
function stats!(s, e::ZygoteEngine)
    check_fixed(e)
    return e.nstats == 0 ? s : gather!(s, statistics(e.model))
end
setstats!(e::ZygoteEngine, s) = e.nstats == 0 || scatter!(statistics(e.model), s)

"Throw if training changed what nobody sends, so that nothing is lost in silence."
function check_fixed(e::ZygoteEngine)
    isempty(e.fixed) && return
    for ((name, before), (_, after)) in zip(e.fixed, fixed_arrays(e.model))
        isequal(before, after) || fail("the model's ", name, " changed in training, and ",
            "it is neither a parameter nor a statistic, so it would be lost: add a ",
            "method of FedFlux.running_statistics for its layer")
    end
end

reseed!(e::ZygoteEngine, rng) = (Random.seed!(e.rng, rand(rng, UInt64)); nothing)

valgrad!(e::ZygoteEngine, g, w, x, y) =
    differentiate!(() -> value_and_gradient(e.loss, e.model, x, y), e, g, w)

"""
Write the gradient that `work() -> (loss, (gradient,))` computes at `w` to `g`; of the
model, or of its `parts`.
"""
function differentiate!(work, e::ZygoteEngine, g, w, parts = e.model)
    scatter!(e.params, w)
    variances = map(l -> copy(l.σ²), e.norms)
    loss, grads = with_generator(work, e.rng)
    foreach(keep_variance!, e.norms, variances)
    fill!(g, 0)
    add_gradient!(g, e.ranges, parts, grads[1])
    return Float32(loss)
end

# The running variance is the unbiased one, which a single value doesn't have: Flux divides
# by zero, where the fast engine keeps the variance before.
keep_variance!(l, before) =
    any(isnan, l.σ²) && all(isfinite, l.μ) && copyto!(l.σ², before)

value_and_gradient(loss, model, x, y) =
    Zygote.withgradient(m -> loss(m(x), y), model)

# The definition itself, one example after another.
function clipped_gradient!(e::ZygoteEngine, g, w, x, y, clip)
    reason = mixes_examples(e.model)
    reason === nothing || throw(Unsupported(reason))
    n, total, one = numobs(x), 0.0, similar(g)
    fill!(g, 0)
    for i = 1:n
        total += valgrad!(e, one, w, batch(e, x, y, i:i)...)
        factor = clip_factor(sum(v -> abs2(Float64(v)), one; init = 0.0), clip)
        factor > 0 && (g .+= factor .* one)
    end
    return Float32(total / n)
end

function predict(e::ZygoteEngine, w, x)
    scatter!(e.params, w)
    return e.model(x)
end

"Run `work` with `rng` in the place of the task's generator."
function with_generator(work, rng)
    task = Random.default_rng()
    before = copy(task)
    copy!(task, rng)
    try
        return work()
    finally
        copy!(rng, task)
        copy!(task, before)
    end
end

"""
Add the structural gradient `∇` of `node` into the flat `g`; an array that stands in the
model twice gets both parts.
"""
function add_gradient!(g, ranges, node, ∇)
    # Deep in vectors of layers, Zygote leaves what ChainRules gave it: thunks and tangents.
    ∇ = Zygote.wrap_chainrules_output(Zygote.unthunk_tangent(∇))
    ∇ === nothing && return g
    if haskey(ranges, node)
        view(g, ranges[node]) .+= vec(∇)
    elseif !Functors.isleaf(node)
        children = Functors.children(node)
        for key in keys(children)
            add_gradient!(g, ranges, children[key], child(∇, key))
        end
    end
    return g
end

child(∇::Base.RefValue, key) = child(∇[], key)
child(∇::Union{NamedTuple,AbstractDict}, key) = get(∇, key, nothing)
child(∇::Union{Tuple,AbstractVector}, key) = ∇[key]
child(∇, key) = error("Zygote gave a ", typeof(∇), " as the gradient of a layer")

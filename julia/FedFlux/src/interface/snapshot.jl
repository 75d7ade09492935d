# The global model after one round of a run: the best one, or what a callback is given.

"""
    Snapshot

The global model after a round: `r.best` of a result, and what a callback of two arguments
gets. [`predict`](@ref), [`predict_proba`](@ref) and [`score`](@ref) take it as they take a
result, and `run(init = …)` begins with it.

- `round`; `model`, the Flux model; `parameters` in model order, their `names`, and
  `params_sha256` over their bytes; `statistics`, such as BatchNorm's, by name;
- `monitor` and `value`: the criterion of the run and its figure in this round;
- `loss` and `accuracy` on the test data; `nothing` if they were not measured;
- `options` and `input` as in [`RunResult`](@ref).
"""
Base.@kwdef struct Snapshot
    round::Int
    model::Any
    parameters::Vector{Array{Float32}}
    names::Vector{String}
    params_sha256::String
    statistics::Vector{Pair{String,Array{Float32}}}
    monitor::String
    value::Union{Nothing,Float64}
    loss::Union{Nothing,Float64}
    accuracy::Union{Nothing,Float64}
    options::Options
    input::InputContract
end

"The arrays of a model: `(; parameters, names, params_sha256, statistics)`."
function arrays_of(model)
    layout, θ = Layout(model), flatten(model)
    return (; parameters = arrays(θ, layout), names = [s.name for s in layout.slots],
        params_sha256 = fingerprint(θ),
        statistics = Pair{String,Array{Float32}}[
            name => Array(a) for (name, a) in all_statistics(model)
        ])
end

"The snapshot of a model after the round of record `r`."
Snapshot(model, r::Record, o::Options, input; loss = r.test_loss, accuracy = r.accuracy) =
    Snapshot(; r.round, model, arrays_of(model)..., o.monitor,
        value = criterion(Monitor(o.monitor), r), loss, accuracy, options = o, input)

function Base.show(io::IO, s::Snapshot)
    print(io, "Snapshot(round ", s.round)
    s.value === nothing || @printf(io, ", %s %.4f", s.monitor, s.value)
    print(io, ", params ", first(s.params_sha256, 12), "…)")
end

accuracy(s::Snapshot) = s.accuracy

"""
The best model so far, or `nothing`. With `test`, a [`TestData`](@ref), it is measured there
if the run left that to its end.
"""
function best_snapshot(o::Options, f, st, pool, progress, input, test)
    (; best, history) = progress
    best === nothing && return nothing
    (; round, θ, stats) = best
    model = global_model(f, State(st; round, θ, stats, st.shared), engine(pool))
    r = history[findlast(r -> r.round == round, history)]
    test === nothing || r.test_loss !== nothing ||
        return Snapshot(model, r, o, input; tested(f, pool, θ, stats, test)...)
    return Snapshot(model, r, o, input)
end

function tested(f, pool, θ, stats, d::TestData)
    e = with_blas_threads(() -> evaluate(pool, f, θ, stats, d.x, d.y, d.nclasses), 1)
    return (; e.loss, accuracy = accuracy(e))
end

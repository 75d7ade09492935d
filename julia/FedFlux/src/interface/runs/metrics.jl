# The metrics that a run measures after each evaluated round, by name.

"""
    OfProbabilities(f)

A metric `f(y, p)` of the targets and the probabilities of the classes, as
[`predict_proba`](@ref) gives them, in place of the predictions: for the option `metrics`.

```julia
surprise(y, p) = -sum(log(p[label + 1, i]) for (i, label) in enumerate(y)) / length(y)
FedFlux.run(dataset = "digits", rounds = 2, lr = 0.1,
    metrics = (; surprise = FedFlux.OfProbabilities(surprise)))
```
"""
struct OfProbabilities
    f::Any
end

"""
The option `metrics` as pairs of a name and what measures it: a function, or the name of a
metric that fedflux has. Throws a [`FedFluxError`](@ref) for anything else.
"""
function named_metrics(given)
    is_text(given) && return Pair{String,Any}[name => name for name in given]
    pairs = metric_pairs(given)
    pairs === nothing &&
        fail("metrics is a ", type_name(given), "; expected functions by name, as in ",
            "(; f1 = f), or a list of names")
    for (name, f) in pairs
        occursin(r"^[A-Za-z_]\w*$", name) && name ∉ TAKEN_NAMES ||
            fail("metrics: expected names of letters, digits and underscores that the ",
                "history doesn't have yet, got ", repr(name))
        is_metric(f) || fail("metrics: expected a function of the targets and the ",
            "predictions for ", name, ", got ", first(repr(f), 80))
    end
    allunique(first.(pairs)) || fail("metrics: expected different names, got ",
        join(first.(pairs), ", "))
    return pairs
end

is_metric(f) = !isempty(methods(f))
is_metric(f::OfProbabilities) = is_metric(f.f)
is_metric(f::AbstractString) = f in DECLARED_OPTIONS["metrics"]["choices"]

const TAKEN_NAMES = ("loss", string.(fieldnames(Record))...)

metric_pairs(given) = nothing
metric_pairs(given::NamedTuple) =
    Pair{String,Any}[string(k) => f for (k, f) in pairs(given)]
metric_pairs(given::AbstractDict) =
    sort!(Pair{String,Any}[string(k) => f for (k, f) in given]; by = first)
metric_pairs(given::Union{Tuple,AbstractVector}) =
    all(p -> p isa Pair, given) ? Pair{String,Any}[string(k) => f for (k, f) in given] :
    nothing

"""
    run_metrics(o::Options, loss, classes) -> NamedTuple

What a run measures after each evaluated round: functions of the model's outputs, the
targets and the number of the round. These are the option's `metrics` and, if nothing else
measures it, that of `target_metric`. `classes` are the names of the labels, or `nothing`.
"""
function run_metrics(o::Options, loss, classes)
    metrics = named_metrics(o.metrics)
    target = target_of(o)
    known = unique(["loss"; "accuracy"; o.monitor; first.(metrics)])
    if target !== nothing && target.name ∉ known
        target.name in DECLARED_OPTIONS["metrics"]["choices"] ||
            fail("target_metric is ", o.target_metric, ", and there is no metric ",
                target.name,
                "; expected one of ", join(known, ", "),
                hint("metric", target.name, known))
        push!(metrics, target.name => target.name)
    end
    return NamedTuple(
        Symbol(name) => (out, y, round) -> figure_of(f, name, loss, classes, out, y, round)
        for (name, f) in metrics
    )
end

target_of(o::Options) = o.target_metric === nothing ? nothing : Target(o.target_metric)

"The figure of a metric in a round, by the outputs of the model and the targets."
function figure_of(metric, name, loss, classes, out, y, round)
    metric isa AbstractString && return Float64(measure(metric, loss, out, y))
    ŷ = decide(loss, out)
    y = checked_truth(loss, y, ŷ, out)
    of_labels = !(metric isa OfProbabilities)
    value =
        of_labels ? call_metric(metric, name, round, classes, y, ŷ, of_labels) :
        call_metric(metric.f, name, round, classes, y, probabilities(loss, out), of_labels)
    value isa Real && !(value isa Bool) && return Float64(value)
    fail("metric ", name, " in round ", round, ": expected a number, got ",
        value isa AbstractArray ? summary(value) : first(repr(value), 80))
end

"""
Call a metric of the user's own, with the labels as the user gave them; one in another
language has a method of its own.
"""
function call_metric(f, name, round, classes, y, answers, of_labels)
    by_name(labels) = classes === nothing ? labels : named_labels(classes, labels)
    try
        return f(by_name(y), of_labels ? by_name(answers) : answers)
    catch
        @error "metric $name failed in round $round"
        rethrow()
    end
end

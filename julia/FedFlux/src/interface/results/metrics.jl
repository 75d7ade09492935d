# How well a model predicts: measures of its outputs beside the truth.

"""
    Metric(name)

A measure of predictions by its name: `accuracy`; `f1`, the mean over the classes of
2 TP / (2 TP + FP + FN); `auc`, the area under the ROC curve, for more than two classes the
mean of each against the rest; `perplexity`, exp of the mean cross-entropy; `r2`,
1 − Σ(y − ŷ)² / Σ(y − ȳ)²; `mae`; `mse`.
"""
const METRICS = (:accuracy, :f1, :auc, :perplexity, :r2, :mae, :mse)

decide(::CrossEntropy, out) =
    dropdims(map(i -> Int(i[1]) - 1, argmax(out; dims = 1)); dims = 1)
decide(::BinaryCrossEntropy, out) = without_single(Int.(out .> 0))
decide(loss, out) = without_single(out)

without_single(out) = size(out, 1) == 1 ? dropdims(out; dims = 1) : out

probabilities(::CrossEntropy, out) = Flux.softmax(out; dims = 1)
function probabilities(::BinaryCrossEntropy, out)
    p = Flux.sigmoid.(out)
    return size(p, 1) == 1 ? vcat(1 .- p, p) : p
end
probabilities(loss, out) = fail("the loss has no classes, and so no probabilities")

default_metric(::Union{CrossEntropy,BinaryCrossEntropy}) = :accuracy
default_metric(loss) = :r2

"""
The `metric` of the raw outputs `out`, (outputs, …, N), for the targets `y`. Throws a
[`FedFluxError`](@ref) for a metric that the loss has not.
"""
function measure(metric, loss, out, y)
    metric isa Union{Symbol,AbstractString} || return metric(y, decide(loss, out))
    name = Symbol(metric)
    name in METRICS || fail("metric is ", name, "; expected one of ", join(METRICS, ", "),
        ", or a function of the targets and the predictions")
    labeled = loss isa Union{CrossEntropy,BinaryCrossEntropy}
    (name in (:r2, :mae, :mse)) == labeled &&
        fail(
            "metric ",
            name,
            labeled ? " is for numbers, and the model predicts labels" :
            " is for labels, and the model predicts numbers"
        )
    ŷ, y = vec(decide(loss, out)), vec(y)
    length(ŷ) == length(y) ||
        fail("score: there are ", length(ŷ), " predictions and ", length(y), " targets")
    name === :accuracy && return mean(ŷ .== y)
    name === :f1 && return f1(y, ŷ)
    name === :auc && return area_under_roc(y, probabilities(loss, out))
    name === :perplexity && return perplexity(y, probabilities(loss, out))
    name === :mae && return mean(abs, y .- ŷ)
    name === :mse && return mean(abs2, y .- ŷ)
    return 1 - sum(abs2, y .- ŷ) / sum(abs2, y .- mean(y))
end

function f1(y, ŷ)
    scores = map(union(y, ŷ)) do label
        right = count((y .== label) .& (ŷ .== label))
        return 2 * right / (count(==(label), y) + count(==(label), ŷ))
    end
    return mean(scores)
end

"The share of pairs of a positive and another sample that the scores order rightly."
function area_under_curve(positive, scores)
    above, below = scores[positive], scores[.!positive]
    (isempty(above) || isempty(below)) && return NaN
    sort!(below)
    right = sum(above) do s
        less, upto = searchsortedfirst(below, s) - 1, searchsortedlast(below, s)
        return (less + upto) / 2
    end
    return right / (length(above) * length(below))
end

function area_under_roc(y, p)
    flat = reshape(p, size(p, 1), :)
    size(flat, 1) == 2 && return area_under_curve(y .== 1, flat[2, :])
    areas = [area_under_curve(y .== c - 1, flat[c, :]) for c in axes(flat, 1)]
    known = filter(!isnan, areas)
    isempty(known) && fail("metric auc needs samples of more than one class")
    return mean(known)
end

function perplexity(y, p)
    flat = reshape(p, size(p, 1), :)
    held = (max(flat[label+1, i], floatmin(Float32)) for (i, label) in enumerate(y))
    return exp(-mean(log, held))
end

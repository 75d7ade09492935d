# How well a model predicts: measures of its outputs beside the truth, as scikit-learn
# defines them.

"""
The measures of predictions by their names: `accuracy`, if there are several labels the
share of samples whose labels are all right; `f1`, 2 TP / (2 TP + FP + FN); `auc`, the area
under the ROC curve, for more than two classes of each against the rest; `perplexity`, exp
of the mean cross-entropy; `r2`, 1 − Σ(y − ŷ)² / Σ(y − ȳ)²; `mae`; `mse`.
"""
const METRICS = (:accuracy, :f1, :auc, :perplexity, :r2, :mae, :mse)

"The averages that a measure takes; the first is the default."
const AVERAGES = Dict(:f1 => (:macro, :micro, :weighted, :samples, :binary),
    :auc => (:macro, :micro, :weighted, :samples), :r2 => (:macro, :weighted))

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

const Labeled = Union{CrossEntropy,BinaryCrossEntropy}

default_metric(::Labeled) = :accuracy
default_metric(loss) = :r2

"""
The `metric` of the raw outputs `out`, (outputs, …, N), for the targets `y`, with the
`average` over classes, labels or outputs. Throws a [`FedFluxError`](@ref) for a metric or
an average that the loss has not, and if the metric is not defined for the targets.
"""
function measure(metric, loss, out, y; average = nothing)
    ŷ = decide(loss, out)
    if !(metric isa Union{Symbol,AbstractString})
        check_average("a function", (), average)
        return metric(checked_truth(loss, y, ŷ, out), ŷ)
    end
    name = Symbol(metric)
    name in METRICS || fail("metric is ", name, "; expected one of ", join(METRICS, ", "),
        ", or a function of the targets and the predictions")
    labeled = loss isa Labeled
    (name in (:r2, :mae, :mse)) == labeled && fail("metric ", name,
        labeled ? " is for numbers, and the model predicts labels" :
        " is for labels, and the model predicts numbers")
    kind = check_average("metric $name", get(AVERAGES, name, ()), average)
    y = checked_truth(loss, y, ŷ, out)
    if !labeled
        check_finite(name, ŷ)
        return of_numbers(Val(name), by_output(y), by_output(ŷ), kind)
    end
    p = probabilities(loss, out)
    name in (:auc, :perplexity) && check_finite(name, p)
    size(p) == size(ŷ) && return of_several(Val(name), y, ŷ, p, kind)
    return of_classes(Val(name), vec(y), vec(ŷ), reshape(p, size(p, 1), :), kind)
end

"The targets in the shape of the predictions, after a check that they can be right."
function checked_truth(loss, y, ŷ, out)
    y isa AbstractArray{<:Real} ||
        fail("y is a ", typeof(y), "; expected numbers, as in y_train")
    all(isfinite, y) || fail("y contains NaN or Inf; expected finite numbers")
    size(y) == (1, size(ŷ)...) && (y = reshape(y, size(ŷ)))
    size(y) == size(ŷ) ||
        fail("y has size ", size(y), "; expected ", size(ŷ), ", that of the predictions")
    loss isa Labeled || return y
    top = loss isa BinaryCrossEntropy ? 1 : size(out, 1) - 1
    wrong = findfirst(v -> !(isinteger(v) && 0 <= v <= top), y)
    wrong === nothing ||
        fail("y contains ", y[wrong], "; expected labels from 0 to ", top)
    return Int.(y)
end

function check_average(what, known, average)
    average === nothing && return isempty(known) ? nothing : first(known)
    isempty(known) && fail("average is ", average, "; expected none for ", what)
    Symbol(average) in known || fail("average is ", average, "; expected one of ",
        join(known, ", "), " for ", what)
    return Symbol(average)
end

check_finite(name, values) =
    all(isfinite, values) ||
    fail("metric ", name, ": the predictions contain NaN or Inf: ",
        "the model diverged; try a smaller learning rate")

"Numbers as (outputs, N), in Float64."
by_output(y) = Float64.(ndims(y) == 1 ? reshape(y, 1, :) : reshape(y, :, size(y)[end]))

# 0 if there is nothing to divide by, as scikit-learn has it.
over_or_zero(over, under) = under > 0 ? over / under : 0.0

function combined(scores, weights, average)
    average === :weighted || return mean(scores)
    return over_or_zero(sum(scores .* weights), sum(weights))
end

# Labels, one for each sample or token.

of_classes(::Val{:accuracy}, y, ŷ, p, average) = mean(ŷ .== y)

function of_classes(::Val{:f1}, y, ŷ, p, average)
    average === :samples && fail(FOR_SEVERAL)
    right, true_ones, said = (zeros(Int, size(p, 1)) for _ = 1:3)
    for (a, b) in zip(y, ŷ)
        true_ones[a+1] += 1
        said[b+1] += 1
        right[a+1] += a == b
    end
    if average === :binary
        size(p, 1) == 2 ||
            fail("average binary is for two classes, and there are ", size(p, 1))
        return over_or_zero(2 * right[2], true_ones[2] + said[2])
    end
    seen = findall(>(0), true_ones .+ said)
    return f1(right[seen], true_ones[seen], said[seen], average)
end

const FOR_SEVERAL = "average samples is for several labels of each sample"

"F1 from how often each class or label is right, true and said."
function f1(right, true_ones, said, average)
    average === :micro && return over_or_zero(2 * sum(right), sum(true_ones) + sum(said))
    return combined(over_or_zero.(2 .* right, true_ones .+ said), true_ones, average)
end

"The share of pairs of a positive and another sample that the scores order rightly."
function area_under_curve(positive, scores)
    above, below = scores[positive], scores[.!positive]
    (isempty(above) || isempty(below)) &&
        fail("metric auc: expected positive and other samples, got one kind")
    sort!(below)
    right = sum(above) do s
        less, upto = searchsortedfirst(below, s) - 1, searchsortedlast(below, s)
        return (less + upto) / 2
    end
    return right / (length(above) * length(below))
end

function of_classes(::Val{:auc}, y, ŷ, p, average)
    counts = [count(==(c - 1), y) for c in axes(p, 1)]
    absent = findall(==(0), counts) .- 1
    isempty(absent) && length(counts) > 1 ||
        fail("metric auc: expected samples of every class, got none of class ",
            join(first(absent, 10), ", "))
    length(counts) == 2 && return area_under_curve(y .== 1, p[2, :])
    average === :samples && fail(FOR_SEVERAL)
    average === :micro &&
        return area_under_curve(vec((axes(p, 1) .- 1) .== y'), vec(p))
    areas = [area_under_curve(y .== c - 1, p[c, :]) for c in axes(p, 1)]
    return combined(areas, counts, average)
end

function of_classes(::Val{:perplexity}, y, ŷ, p, average)
    held = (max(p[label+1, i], floatmin(Float32)) for (i, label) in enumerate(y))
    return exp(-mean(log, held))
end

# Several labels for each sample, (k, N).

of_several(::Val{:accuracy}, y, ŷ, p, average) =
    mean(i -> view(y, :, i) == view(ŷ, :, i), axes(y, 2))

function of_several(::Val{:f1}, y, ŷ, p, average)
    average === :binary && fail("average binary is for two classes, not several labels")
    dims = average === :samples ? 1 : 2
    right, true_ones, said = (vec(sum(a; dims)) for a in (y .* ŷ, y, ŷ))
    return f1(right, true_ones, said, average)
end

function of_several(::Val{:auc}, y, ŷ, p, average)
    positive = y .== 1
    average === :micro && return area_under_curve(vec(positive), vec(p))
    what, dims = average === :samples ? ("sample", 2) : ("label", 1)
    counts = [count(row) for row in eachslice(positive; dims)]
    alike = findfirst(n -> n in (0, length(y) ÷ length(counts)), counts)
    alike === nothing ||
        fail("metric auc: expected 0 and 1 for every ", what, ", got only ",
            Int(counts[alike] > 0), " for ", what, " ", alike)
    areas = map(area_under_curve, eachslice(positive; dims), eachslice(p; dims))
    return combined(areas, counts, average)
end

of_several(::Val{:perplexity}, y, ŷ, p, average) =
    fail("metric perplexity: expected one label for each sample")

# Numbers, (outputs, N).

"The mean of each output's R²: 0 for a constant one that is missed, 1 for one that isn't."
function of_numbers(::Val{:r2}, y, ŷ, average)
    size(y, 2) > 1 || fail("metric r2: expected at least two samples, got one")
    missed = vec(sum(abs2, y .- ŷ; dims = 2))
    spread = vec(sum(abs2, y .- mean(y; dims = 2); dims = 2))
    scores = [s == 0 ? Float64(m == 0) : 1 - m / s for (m, s) in zip(missed, spread)]
    return combined(scores, spread, any(>(0), spread) ? average : :macro)
end
of_numbers(::Val{:mae}, y, ŷ, average) = mean(abs, y .- ŷ)
of_numbers(::Val{:mse}, y, ŷ, average) = mean(abs2, y .- ŷ)

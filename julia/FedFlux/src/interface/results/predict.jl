# What a trained model says: predictions of a run's result for new samples.

const LiveResult = Union{RunResult,Snapshot,PersonalModel}
const AnyResult = Union{LiveResult,SavedResult}
options_of(r::LiveResult) = r.options

"""
    predict(r, x)

The labels, as they were given, that the trained model of a [`RunResult`](@ref), a
[`SavedResult`](@ref), a [`Snapshot`](@ref) or a [`PersonalModel`](@ref) gives to the
samples `x`, or its numbers if the loss compares numbers. `x` is as the run's own data:
samples along the last dimension, 8-bit images or floats before normalization, or tokens.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
predict(r, FedFlux.digits().xtest)
```
"""
predict(r::AnyResult, x) =
    named_labels(classes_of(r), decide(loss_of(options_of(r)), raw_outputs(r, x)))

"What the numbers of a model's labels stand for; `nothing`: themselves."
classes_of(r::LiveResult) = r.input.classes
classes_of(r::SavedResult) = get(r.facts["details"], "classes", nothing)

"""
    predict_proba(r, x)

The probability of each class, (classes, …, N), for the samples `x` of [`predict`](@ref),
in the order of the result's `classes`, or of the numbers from 0. Throws a
[`FedFluxError`](@ref) if the loss has no classes.
"""
predict_proba(r::AnyResult, x) = probabilities(loss_of(options_of(r)), raw_outputs(r, x))

"""
    score(r, x, y; metric, average = nothing)

How well the trained model predicts the targets `y` of the samples `x`, as scikit-learn's
functions measure it: by default the accuracy, or R² if the loss compares numbers.

- `metric`: one of accuracy, f1, auc, perplexity, r2, mae and mse, or a function of the
  targets and the predictions. The accuracy of several labels is the share of samples that
  have all right.
- `average`: how f1 and auc combine classes or labels, and r2 outputs: macro (the mean; the
  default), micro (counted together), weighted (by the samples of a class, the positives of
  a label, the variance of an output), samples (the mean over the samples of several
  labels), or, for f1 of two classes, binary (of class 1 alone).

Throws a [`FedFluxError`](@ref) for a metric or an average that does not fit the loss, and
if the metric is not defined for the targets.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
d = FedFlux.digits()
score(r, d.xtest, d.ytest; metric = "f1")
```
"""
function score(r::AnyResult, x, y; metric = default_metric(loss_of(options_of(r))),
    average = nothing)
    classes, loss = classes_of(r), loss_of(options_of(r))
    classes === nothing && return measure(metric, loss, raw_outputs(r, x), y; average)
    numbers = label_numbers("y", y, classes)
    name(labels) = named_labels(classes, labels)
    of_names(y, ŷ) = metric(name(y), name(ŷ))
    used = metric isa Union{Symbol,AbstractString} ? metric : of_names
    return measure(used, loss, raw_outputs(r, x), numbers; average)
end

raw_outputs(r::LiveResult, x) = raw_outputs(r.model, x, r.options, r.input)
function raw_outputs(r::SavedResult, x)
    o = options_of(r)
    model = named_model(o, r.facts["details"]["sample"], length(last(r.parameters)),
        arrays_by_name(r))
    return raw_outputs(model, x, o, saved_contract(r.facts))
end

"The raw outputs, (outputs, …, N), of a model for samples as a user has them."
function raw_outputs(model, x, o::Options, input::InputContract)
    tokens = takes_tokens(o.model)
    any_size = tokens || !is_name(o.model)
    x = as_inputs(as_trained(input, x; any_size), tokens)
    takes_tokens(model) && check_vocabulary(model, "x", x)
    checkmodel(model, getobs(x, 1:1), 0)
    batches = Iterators.partition(1:numobs(x), EVAL_BATCH)
    parts = [model(getobs(x, part)) for part in batches]
    return length(parts) == 1 ? only(parts) : join_last(parts)
end

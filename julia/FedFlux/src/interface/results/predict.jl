# What a trained model says: predictions of a run's result for new samples.

const AnyResult = Union{RunResult,SavedResult,PersonalModel}
options_of(p::PersonalModel) = p.options

"""
    predict(r, x)

The labels (from 0) that the trained model of a [`RunResult`](@ref), a
[`SavedResult`](@ref) or a [`PersonalModel`](@ref) gives to the samples `x`, or its numbers
if the loss compares numbers. `x` is as the run's own data: samples along the last
dimension, 8-bit images or floats before normalization, or tokens.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
predict(r, FedFlux.digits().xtest)
```
"""
predict(r::AnyResult, x) = decide(loss_of(options_of(r)), raw_outputs(r, x))

"""
    predict_proba(r, x)

The probability of each class, (classes, …, N), for the samples `x` of [`predict`](@ref).
For one output with binary cross-entropy the classes are 0 and 1. Throws a
[`FedFluxError`](@ref) if the loss has no classes.
"""
predict_proba(r::AnyResult, x) = probabilities(loss_of(options_of(r)), raw_outputs(r, x))

"""
    score(r, x, y; metric)

How well the trained model predicts the targets `y` of the samples `x`: by default the
accuracy, or R² if the loss compares numbers. `metric` is one of accuracy, f1, auc,
perplexity, r2, mae and mse, or a function of the targets and the predictions.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
d = FedFlux.digits()
score(r, d.xtest, d.ytest; metric = "f1")
```
"""
score(r::AnyResult, x, y; metric = default_metric(loss_of(options_of(r)))) =
    measure(metric, loss_of(options_of(r)), raw_outputs(r, x), y)

raw_outputs(r::Union{RunResult,PersonalModel}, x) =
    raw_outputs(r.model, x, r.options, r.moments)
function raw_outputs(r::SavedResult, x)
    o = options_of(r)
    model = named_model(o, r.facts["details"]["sample"], length(last(r.parameters)),
        in_file_order(r))
    return raw_outputs(model, x, o, nothing)
end

"The raw outputs, (outputs, …, N), of a model for samples as a user has them."
function raw_outputs(model, x, o::Options, moments)
    x = check_samples("x", x)
    given = o.mean !== nothing || o.std !== nothing
    given && (
        x = standardise(as_inputs(x, false), Float32(something(o.mean, 0)),
            Float32(something(o.std, 1)))
    )
    x = as_inputs(x, takes_tokens(o.model))
    moments === nothing || (x = standardise(x, moments...))
    takes_tokens(model) && check_vocabulary(model, "x", x)
    checkmodel(model, getobs(x, 1:1), 0)
    batches = Iterators.partition(1:numobs(x), EVAL_BATCH)
    parts = [model(getobs(x, part)) for part in batches]
    return length(parts) == 1 ? only(parts) : join_last(parts)
end

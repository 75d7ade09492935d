# The verbs of the case study, on models. The rounds use the same code.

"""
    train_model!(model, data; epochs = 1, batchsize = 32, optimizer = Descent(0.05),
                 loss = CrossEntropy(), rng = Random.default_rng(),
                 trainer = :auto) -> model

Train `model` on one client's `data` and return it.

- `model`: a Flux model with Float32 parameters; changed in place.
- `data`: `(x, y)`, samples and targets along the last dimension; labels are integers from
  0.
- `epochs`: passes over the data, each shuffled by `rng`. Its state also decides dropout's
  masks, which draw nothing from it.
- `batchsize`: samples per step; the last batch of an epoch may be smaller.
- `optimizer`: an Optimisers rule.  `loss`: a [`Loss`](@ref) or any function `loss(ŷ, y)`.

Throws a [`FedFluxError`](@ref) when the data doesn't fit the model.

```julia
model = softmax_regression(4, 2)
train_model!(model, (rand(Float32, 4, 60), rand(0:1, 60)); epochs = 3)
```
"""
function train_model!(model, data::Tuple; epochs = 1, batchsize = 32,
    optimizer = Optimisers.Descent(0.05f0), loss = CrossEntropy(),
    rng = Random.default_rng(), trainer = :auto)
    x, y = data
    checkpair("train", x, y)
    checklabels(loss, y, "train")
    y = targets(loss, y)
    takes_tokens(model) && check_vocabulary(model, "x_train", x)
    check_targets(loss, checkmodel(model, getobs(x, 1:1), 0), "y_train", y)
    n = numobs(x)
    f = Federated(model; loss, optimizer, epochs, batchsize, trainer)
    e, _, _ = make_engine(f.trainer, model, loss, x, min(batchsize, n))
    # From a copy, if there can be one: dropout must not change the order of the batches.
    reseed!(e, Stream(rand(applicable(copy, rng) ? copy(rng) : rng, UInt64), :dropout))
    worker = Worker(e)
    to_engine!(worker.w, e, flatten(model))
    set_samples!(worker, 1:n)
    localfit!(worker, x, y, f.train, rng, (; steps = nsteps(f.train, n)), Control())
    scatter!(Optimisers.trainables(model), to_model!(similar(worker.w), e, worker.w))
    stats = stats!(Vector{Float32}(undef, nstats(e)), e)
    isempty(stats) || scatter!(statistics(model), stats)
    return model
end

"""
    aggregate_models(models; weights = nothing) -> Vector{Array{Float32}}

The weighted average of the models' parameters, as a list of arrays in model order: FedAvg's
step (McMahan et al. 2017, arXiv:1602.05629, Algorithm 1). (The case study's own
`aggregate_models` only lists the parameters.)

- `models`: Flux models of one architecture.
- `weights`: a non-negative number for each, such as its number of samples; equal by
  default.

Throws a [`FedFluxError`](@ref) for no models, different shapes, or weights that are
negative, not finite or all zero.

```julia
a, b = softmax_regression(4, 2), softmax_regression(4, 2)
aggregate_models([a, b]; weights = [30, 10])
```
"""
function aggregate_models(models; weights = nothing)
    isempty(models) && fail("aggregate_models: there are no models; expected at least one")
    weights = weights === nothing ? ones(length(models)) : weights
    length(weights) == length(models) ||
        fail("aggregate_models: ", length(models), " models and ", length(weights),
            " weights; expected as many of each")
    all(w -> isfinite(w) && w >= 0, weights) && sum(weights) > 0 ||
        fail("aggregate_models: the weights are ", weights,
            "; expected non-negative numbers, not all zero")
    layout = Layout(first(models))
    expected = [s.dims for s in layout.slots]
    acc = start(Mean(), length(models))
    for (i, (model, weight)) in enumerate(zip(models, weights))
        sizes = size.(Optimisers.trainables(model))
        sizes == expected ||
            fail("aggregate_models: model ", i, " has arrays of sizes ", sizes,
                " and model 1 ", expected)
        add!(Mean(), acc, Update(; delta = flatten(model)), weight)
    end
    return arrays(finish(Mean(), acc).delta, layout)
end

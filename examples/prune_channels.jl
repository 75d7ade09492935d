# Channel pruning: McMahan's CNN loses half its channels over four rounds, and the small
# model that remains trains faster.
#
#     julia --project=julia/FedFlux -t auto examples/prune_channels.jl [path.npz]
#
# Without a path it uses MNIST if it is cached or can be downloaded, else digits.
using FedFlux, Printf

dataset, warning = FedFlux.load_dataset(isempty(ARGS) ? "auto" : ARGS[1])
warning === nothing || @warn warning
result = FedFlux.run(;
    dataset,
    model = "mcmahan_cnn",
    clients = 10,
    clients_per_round = 2,
    rounds = 5,
    batch_size = 10,
    lr = 0.05,
    local_steps = 20,
    rules = ["prune_channels(fraction=0.5, stop=4)"],
    verbose = true
)

"Milliseconds per training step with batches of 10: the best of several, after a warm-up."
function step_time(model, x, y; steps = 30)
    engine, = FedFlux.make_engine(:auto, model, CrossEntropy(), x, 10)
    w = zeros(Float32, FedFlux.nparams(engine))
    FedFlux.to_engine!(w, engine, FedFlux.flatten(model))
    g = similar(w)
    xb, yb = FedFlux.batch(engine, x, y, 1:10)
    valgrad!(engine, g, w, xb, yb)
    return 1000 * minimum(@elapsed(valgrad!(engine, g, w, xb, yb)) for _ = 1:steps)
end

x, y = dataset.x[:, :, :, 1:10], Int.(dataset.y[1:10])
outputs = result.model(x)
difference = maximum(abs, outputs .- result.small(x)) / maximum(abs, outputs)
parameters = sum(length, result.parameters)
remaining = length(FedFlux.flatten(result.small))
whole, small = step_time(result.model, x, y), step_time(result.small, x, y)
megabytes(record) = record.bytes_up / 1e6
@printf(
    "%d parameters, of which %d remain; outputs differ by %.1e\n",
    parameters, remaining, difference
)
@printf(
    "one step with a batch of 10: %.2f ms before, %.2f ms after, %.1f times as fast\n",
    whole, small, whole / small
)
@printf(
    "bytes up in the first and the last round: %.1f MB, %.1f MB\n",
    megabytes(first(result.history)), megabytes(last(result.history))
)

# McMahan's CNN loses half its channels over four rounds; the small model that is left trains faster.
#
#     julia --project=julia/FedFlux -t auto examples/prune_channels.jl [path.npz]
#
# Without a path it takes MNIST where it is cached or can be downloaded, else digits.
using FedFlux, Printf

dataset, warning = FedFlux.load_dataset(isempty(ARGS) ? "auto" : ARGS[1])
warning === nothing || @warn warning
result = FedFlux.run(; dataset, model = "mcmahan_cnn", clients = 10, clients_per_round = 2, rounds = 5,
                     batch_size = 10, lr = 0.05, local_steps = 20, rules = ["prune_channels(fraction=0.5, stop=4)"], verbose = true)

"Milliseconds of one training step at batch 10: the best of several, after a warm-up."
function step_time(model, x, y; steps = 30)
    engine, = FedFlux.make_engine(:auto, model, CrossEntropy(), x, 10)
    w = FedFlux.to_engine!(zeros(Float32, FedFlux.nparams(engine)), engine, FedFlux.flatten(model))
    g = similar(w)
    xb, yb = FedFlux.batch(engine, x, y, 1:10)
    valgrad!(engine, g, w, xb, yb)
    return 1000 * minimum(@elapsed(valgrad!(engine, g, w, xb, yb)) for _ in 1:steps)
end

x, y = dataset.x[:, :, :, 1:10], Int.(dataset.y[1:10])
difference = maximum(abs, result.model(x) .- result.small(x)) / maximum(abs, result.model(x))
whole, small = step_time(result.model, x, y), step_time(result.small, x, y)
@printf("%d parameters, of which %d are left; outputs differ by %.1e\n", sum(length, result.parameters),
        length(FedFlux.flatten(result.small)), difference)
@printf("a step of batch 10: %.2f ms, then %.2f ms, %.1f times as fast\n", whole, small, whole / small)
@printf("bytes up in the first round and in the last: %.1f MB, %.1f MB\n", first(result.history).bytes_up / 1e6, last(result.history).bytes_up / 1e6)

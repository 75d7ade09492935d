# The case study from the REPL: ten clients train a small CNN on their own images, and a
# server averages the models.
#
#     julia --project=julia/FedFlux examples/case_study.jl [path.npz]
#
# Without a path it uses MNIST if it is cached or can be downloaded (with MLDatasets in the
# environment), else digits.
using FedFlux, Flux, Printf
using FedFlux: IID, getobs, indices, load_dataset, nsamples, partition

dataset, warning = load_dataset(isempty(ARGS) ? "auto" : ARGS[1])
warning === nothing || @warn warning
width, height, channels, _ = size(dataset.x)
clients = partition(IID(), dataset.x, Int.(dataset.y), 10, 0)

global_model = case_study_cnn(; imgsize = (width, height), channels, rng = Stream(0, :init))

function accuracy(model)
    predicted = Flux.onecold(model(dataset.xtest), 0:9)
    return count(predicted .== dataset.ytest) / length(dataset.ytest)
end

# One round by hand, with the three functions of the case study.
models = map(1:10) do k
    idx = indices(clients, k)
    data = (getobs(clients.x, idx), getobs(clients.y, idx))
    train_model!(deepcopy(global_model), data; batchsize = 10, optimizer = Descent(0.05f0))
end
weights = [nsamples(clients, k) for k = 1:10]
update_model!(global_model, aggregate_models(models; weights))
@printf("one round by hand: accuracy %.4f\n", accuracy(global_model))

# Five rounds, on all of Julia's threads.
result = FedFlux.run(;
    dataset, clients = 10, rounds = 5, batch_size = 10, lr = 0.05, verbose = true
)
rounds = length(result.history)
@printf("after %d rounds:   accuracy %.4f\n", rounds, accuracy(result.model))

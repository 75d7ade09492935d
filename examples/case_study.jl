# The case study from the REPL: ten clients train a small CNN on their own images, a server averages the models.
#
#     julia --project=julia/FedFlux examples/case_study.jl [path.npz]
#
# Without a path it takes MNIST where it is cached or can be downloaded (with MLDatasets in the environment), else digits.
using FedFlux, Flux, Printf
using FedFlux: IID, getobs, indices, load_dataset, nsamples, partition

dataset, warning = load_dataset(isempty(ARGS) ? "auto" : ARGS[1])
warning === nothing || @warn warning
width, height, channels, _ = size(dataset.x)
clients = partition(IID(), dataset.x, Int.(dataset.y), 10, 0)

global_model = case_study_cnn(; imgsize = (width, height), channels, rng = Stream(0, :init))
right(model) = count(Flux.onecold(model(dataset.xtest), 0:9) .== dataset.ytest) / length(dataset.ytest)

# One round by hand, with the verbs of the case study.
models = map(1:10) do k
    mine = indices(clients, k)
    train_model!(deepcopy(global_model), (getobs(clients.x, mine), getobs(clients.y, mine)); batchsize = 10, optimizer = Descent(0.05f0))
end
update_model!(global_model, aggregate_models(models; weights = [nsamples(clients, k) for k in 1:10]))
@printf("one round by hand: accuracy %.4f\n", right(global_model))

# The same, round after round, on every thread that Julia has.
result = FedFlux.run(; dataset, clients = 10, rounds = 5, batch_size = 10, lr = 0.05, verbose = true)
@printf("after %d rounds:   accuracy %.4f\n", length(result.history), right(result.model))

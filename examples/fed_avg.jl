# FedAvg in plain loops: McMahan et al. 2017, arXiv:1602.05629, Algorithm 1.
#
#     julia --project=julia/FedFlux examples/fed_avg.jl
#
# `fit!` computes the same, in parallel, with whatever rules it is given.
using FedFlux, Flux, Random
using FedFlux: IID, digits, indices, partition

"ServerExecutes: `rounds` rounds with a fraction `C` of the clients; changes `model`."
function fed_avg!(model, clients; rounds, C, E, B, η, seed = 0)
    K = length(clients)
    for t = 1:rounds
        m = max(1, floor(Int, C * K))
        cohort = sort!(shuffle!(Stream(seed, :cohort, t), collect(1:K))[1:m])
        models = [client_update(k, t, model, clients; E, B, η, seed) for k in cohort]
        weights = [length(indices(clients, k)) for k in cohort]
        update_model!(model, aggregate_models(models; weights))
    end
    return model
end

"ClientUpdate(k, w): `E` epochs of SGD on client k's samples, in batches of `B`."
function client_update(k, t, model, clients; E, B, η, seed)
    mine = indices(clients, k)
    data = (clients.x[:, :, :, mine], clients.y[mine])
    rng = Stream(seed, :batches, t, k)
    optimizer = Descent(Float32(η))
    return train_model!(deepcopy(model), data; epochs = E, batchsize = B, optimizer, rng)
end

data = digits()
clients = partition(IID(), data.x, Int.(data.y), 10, 0)
model = mlp(64; hidden = (50,), rng = Stream(0, :init))
fed_avg!(model, clients; rounds = 10, C = 0.5, E = 2, B = 10, η = 0.1)
accuracy = sum(Flux.onecold(model(data.xtest), 0:9) .== data.ytest) / length(data.ytest)
println("accuracy after 10 rounds: ", accuracy)

# Ten clients of twelve samples each, a federation of them, and rounds.
using FedFlux: WorkerPool

const TEN_X, TEN_Y = blobs(120)
const TEN_CLIENTS = Clients(TEN_X, TEN_Y, [k:(k+11) for k = 1:12:120])

ten_model() = softmax_regression(6, 3; rng = Stream(1, :init))
ten_federated(m = ten_model(); kw...) =
    Federated(m; optimizer = Descent(0.1f0), batchsize = 4, trainer = :zygote, seed = 4,
        kw...)

"The state and the history after rounds of `f`."
function fit_ten(f; rounds = 3, kw...)
    pool = WorkerPool(f, TEN_CLIENTS; threads = 1)
    st = State(f, pool)
    _, history, _ =
        fit!(f, st, TEN_CLIENTS; rounds, pool, test = (TEN_X, TEN_Y), kw...)
    return st, history
end

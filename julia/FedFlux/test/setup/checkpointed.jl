# Runs that write checkpoints, of a rule with state of every kind.
using FedFlux: Checkpoints, WorkerPool, engine, fingerprint, flatten, global_model,
    load_checkpoint, restore

# A rule with state of every kind, on both sides, that changes what is learned.
struct Drift <: Rule end
FedFlux.init(::Drift, θ) =
    ((; mean = zero(θ), rounds = 0), (; own = zero(θ), seen = (0, "none")))
FedFlux.correct!(::Drift, s, g, w, ctx) = (g .+= 0.01f0 .* (s.private.own .- s.shared.mean))
FedFlux.client!(::Drift, s, u, ctx) = (
    (;
        own = 0.5f0 .* s.private.own .+ u.delta,
        seen = (s.private.seen[1] + 1, "round $(ctx.round)")
    ),
    u
)
FedFlux.server!(::Drift, s, ū, ctx) =
    ((; mean = 0.5f0 .* s.shared.mean .+ ū.delta, rounds = s.shared.rounds + 1), ū)

x, y = blobs(240)
clients = Clients(x, y, [k:(k+11) for k = 1:12:240])
dense(in, out) = Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)))
normed() = Federated(
    Chain(dense(6, 8), BatchNorm(8, relu), dense(8, 3));
    batchsize = 4,
    seed = 4,
    rules = (Drift(),),
    server = Optimisers.Adam(0.01)
)

function fitted(f, folder; rounds, resume = false, clients_per_round = 7, kw...)
    pool = WorkerPool(f, clients.x)
    st, progress =
        resume ? restore(load_checkpoint(folder), f, engine(pool)) :
        (State(f, pool), FedFlux.Progress())
    st, history, stopped =
        fit!(f, st, clients; rounds, clients_per_round, pool, test = (x, y), progress,
            checkpoints = Checkpoints(folder; kw...))
    return fingerprint(flatten(global_model(f, st, engine(pool)))), st, history
end

options(; kw...) = (;
    dataset = "digits",
    clients = 4,
    model = "softmax_regression",
    seed = 3,
    lr = 0.3,
    kw...
)

# A federation whose server and clients exchange bytes, in one process.
using FedFlux: absent_clients, answer!, build, ClientSession, engine, load_checkpoint,
    next_exchange!, Progress, restore, RunLog, ServerSession, Stopping, take_reply!,
    TestData, WorkerPool

x, y = blobs(150)
parts = [1:30, 31:40, 41:80, 81:90, 91:150]
clients = Clients(x, y, parts)
model = mlp(6, 3; hidden = (5,), rng = Stream(1, :init))
glorot(in, out) = Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)))
normed = Chain(glorot(6, 4), BatchNorm(4, relu), glorot(4, 3))
rule(r) = r isa Rule ? r : build("rule", r)
federated(m, rules; kw...) = Federated(m; rules = Tuple(rule.(rules)), batchsize = 8,
    optimizer = Descent(0.05f0), seed = 3, trainer = :fast, kw...)

"The server, with the data that it may know, and each client with its own data alone."
function deployed(f; rounds = 4, clients_per_round = 3, folder = nothing, resume = false,
    sampling = CohortSampling(clients_per_round))
    remote = absent_clients(length.(parts), x[:, 1:1], y[1:1])
    pool = WorkerPool(f, x)
    st, progress =
        resume ? restore(load_checkpoint(folder), f, engine(pool)) :
        (State(f, pool), Progress())
    checkpoints = folder === nothing ? nothing : Checkpoints(folder)
    run_log = RunLog(f, st, remote; stopping = Stopping(; rounds), sampling,
        evaluation = TestData(x, y, 3, nothing), eval_every = 1, pool,
        warn = FedFlux.Callback(Returns(nothing)), checkpoints, progress)
    server = ServerSession(f, st, remote, pool, run_log, sampling;
        federation = fill(0x07, 16), outputs = 3, options = Dict("lr" => "0.05"))
    nodes = [ClientSession(_ -> (f, x[:, p], y[p]), Dict("lr" => "0.05")) for p in parts]
    return server, nodes
end

"""
The answers of a stage, the last client's first. `change(e, k, reply)` may spoil a reply; a
client whose reply it makes `nothing` has trained, and vanishes.
"""
function answer_all!(server, nodes, kept, e; change = (e, k, reply) -> reply)
    bytes = 0
    for (k, message) in zip(reverse(e.clients), reverse(e.messages))
        _, reply, kept[k] = answer!(nodes[k], message, e.arrays, kept[k])
        bytes += length(reply)
        reply = change(e, k, reply)
        reply === nothing || take_reply!(server, k, reply)
    end
    return bytes
end

"Exchanges until the run ends. Gives what the nodes keep, and each round's bytes up."
function exchange!(server, nodes, kept = [UInt8[] for _ in nodes]; change...)
    up = Dict{Int,Int}()
    while true
        e = next_exchange!(server)
        e.done === nothing || return kept, up
        up[e.round] =
            get(up, e.round, 0) + answer_all!(server, nodes, kept, e; change...)
    end
end

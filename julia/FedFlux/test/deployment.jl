# Deployment: sessions that exchange bytes give what a simulation gives, bit for bit; and
# nothing that arrives does harm.
using FedFlux: build, engine, flatten, global_model, WorkerPool, absent_clients,
    lone_client,
    Course, Stopping, Progress, restore, load_checkpoint, ServerStep, TestData

x, y = blobs(150)
parts = [1:30, 31:40, 41:80, 81:90, 91:150]
clients = Clients(x, y, parts)
model = mlp(6, 3; hidden = (5,), rng = Stream(1, :init))
glorot(in, out) = Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)))
normed = Chain(glorot(6, 4), BatchNorm(4, relu), glorot(4, 3))
federated(m, rules; kw...) = Federated(m; rules = Tuple(build("rule", r) for r in rules),
    batchsize = 8, optimizer = Descent(0.05f0), seed = 3, trainer = :fast, kw...)

"The server, with the data that it may know, and each client with its own data alone."
function deployed(f; rounds = 3, clients_per_round = 5, folder = nothing, resume = false,
    sampling = CohortSampling(clients_per_round))
    remote = absent_clients(length.(parts), x[:, 1:1], y[1:1])
    pool = WorkerPool(f, x)
    st, progress =
        resume ? restore(load_checkpoint(folder), f, engine(pool)) :
        (State(f, pool), Progress())
    checkpoints = folder === nothing ? nothing : Checkpoints(folder)
    course = Course(f, st, remote; stopping = Stopping(; rounds), sampling,
        evaluation = TestData(x, y, 3, nothing), eval_every = 1, pool,
        warn = Returns(nothing),
        checkpoints, progress)
    server = ServerSession(f, st, remote, pool, course, sampling;
        federation = fill(0x07, 16), outputs = 3, options = Dict("lr" => "0.05"))
    nodes = [ClientSession(_ -> (f, x[:, p], y[p]), Dict("lr" => "0.05")) for p in parts]
    return server, nodes
end

"Exchanges until the run ends; `kept` is what the nodes keep, `change` spoils a reply."
function exchange!(server, nodes, kept = [UInt8[] for _ in nodes]; until = typemax(Int))
    up, down = Dict{Int,Int}(), Dict{Int,Int}()
    while true
        e = next!(server)
        e.done === nothing && e.round <= until || return kept, up, down
        for (k, message) in zip(reverse(e.clients), reverse(e.messages))
            _, reply, kept[k] = answer!(nodes[k], message, e.arrays, kept[k])
            @test receive!(server, k, reply) === nothing
            up[e.round] = get(up, e.round, 0) + length(reply)
            down[e.round] = get(down, e.round, 0) + length(message) + sum(sizeof, e.arrays)
        end
    end
end

simulated(f; rounds = 3, clients_per_round = 5, kw...) = begin
    pool = WorkerPool(f, x)
    st = State(f, pool)
    _, history, _ =
        fit!(f, st, clients; rounds, clients_per_round, pool, test = (x, y),
            warn = Returns(nothing), kw...)
    st, history
end

const CASES = [(model, ()), (model, ("fedprox(mu=0.1)",)),
    (model, ("scaffold", "topk(fraction=0.2)")),
    (model, ("fednova",)), (model, ("feddyn",)), (model, ("ditto",)),
    (model, ("qffl",)), (model, ("afl",)), (model, ("fedper",)), (model, ("fedrep",)),
    (model, ("fedsgd",)),
    (model, ("quantize(bits=4)",)),
    (model, ("sketch(rows=3, cols=20, k=6)",)),
    (normed, ("fedbn",)), (normed, ())]

@testset "the simulation's parameters, bit for bit: $rules" for (m, rules) in CASES
    f = federated(m, rules)
    st, history = simulated(f; clients_per_round = 3, rounds = 4)
    server, nodes = deployed(f; clients_per_round = 3, rounds = 4)
    _, up, down = exchange!(server, nodes)
    @test server.st.θ == st.θ && server.st.stats == st.stats
    same(r) = (r.round, r.train_loss, r.test_loss, r.accuracy, r.clients, r.bytes_up)
    @test isequal(same.(server.course.history), same.(history))
    for (i, r) in enumerate(server.course.history)
        @test r.bytes_up <= up[i] <= r.bytes_up + 3 * 120
    end
end

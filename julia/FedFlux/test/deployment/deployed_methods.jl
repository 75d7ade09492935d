# Further methods between machines: the simulation's parameters, bit for bit.
include(joinpath(@__DIR__, "..", "setup", "deployed.jl"))
include(joinpath(@__DIR__, "..", "setup", "erased.jl"))

const METHODS = ["lgfedavg", "fedbabu", "fedlc", "fedrod", "fedrs(few=3)", "fedexp",
    "fedcm", "feddc", "fedadmm(rho=0.1)", "term", "fedsam", "perfedavg",
    "pfedme(lam=5)",
    "apfl(adaptive=true)", "mimelite", "mime", "scaffnew(p=0.5)", "ema",
    "feddisco", "ifca", "fedntd", "moon", "fedproto", "fedala"]

@testset "$name" for name in METHODS
    f = federated(normed, (erased(rule(name)),))
    pool = WorkerPool(f, x)
    st = State(f, pool)
    _, history, _ = fit!(f, st, clients; rounds = 4, sampling = CohortSampling(3), pool,
        test = (x, y), warn = FedFlux.Callback(Returns(nothing)))
    server, nodes = deployed(f)
    exchange!(server, nodes)
    @test server.st.θ == st.θ && server.st.stats == st.stats
    @test isequal(server.st.shared, st.shared)
    known(r) = (r.round, r.train_loss, r.accuracy, r.clients, r.bytes_up, r.rejected)
    @test isequal(known.(server.run_log.history), known.(history))
end

@testset "a sampling that learns: $(nameof(typeof(s)))" for s in
                                                            (PowerOfChoice(), Oort())
    f = federated(model, ())
    sampling = CohortSampling(2; sampling = s)
    pool = WorkerPool(f, x)
    st = State(f, pool)
    fit!(f, st, clients; rounds = 5, sampling, pool,
        warn = FedFlux.Callback(Returns(nothing)))
    server, nodes = deployed(f; rounds = 5, sampling)
    exchange!(server, nodes)
    @test server.st.θ == st.θ && server.st.sampling == st.sampling
    @test length(st.sampling) > 2
end

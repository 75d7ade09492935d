using FedFlux: init, correct!, client!, server!

# A rule that writes down when its hooks are called.
struct Spy <: Rule
    name::Symbol
    log::Vector{Any}
end
FedFlux.init(r::Spy, θ) = (0, 0)
FedFlux.client!(r::Spy, s, u, ctx) =
    (write_down(r, (r.name, :client, ctx.round, ctx.client)); (s.private + 1, u))
FedFlux.server!(r::Spy, s, ū, ctx) =
    (write_down(r, (r.name, :server, ctx.round)); (s.shared + 1, ū))

const WRITING = ReentrantLock()      # clients train on several threads
write_down(r::Spy, entry) = @lock WRITING push!(r.log, entry)

# A rule that halves what is sent.
struct Halve <: Rule end
FedFlux.client!(::Halve, s, u, ctx) = (s.private, Update(u; delta = u.delta ./ 2))

# A rule that changes each gradient: with it, w must stay where it was.
struct Freeze <: Rule end
FedFlux.correct!(::Freeze, s, g, w, ctx) = fill!(g, 0)

@testset "a rule that defines no hook changes nothing" begin
    struct Idle <: Rule end
    clients, _ = quadratic_clients(4, 3)
    plain, _ = fit_quadratic(clients, 4; rounds = 5)
    @test fit_quadratic(clients, 4; rounds = 5, rules = (Idle(), Idle()))[1] == plain
end

@testset "forward on clients, backward on the server; state is kept" begin
    log = []
    clients, _ = quadratic_clients(4, 3)
    _, st = fit_quadratic(clients, 4; rounds = 2, rules = (Spy(:a, log), Spy(:b, log)))
    first_round = filter(e -> e[3] == 1, log)
    @test [e for e in first_round if e[2] == :server] ==
          [(:b, :server, 1), (:a, :server, 1)]
    for k = 1:3
        @test [e[1] for e in first_round if e[2] == :client && e[4] == k] == [:a, :b]
    end
    @test st.shared == (2, 2)
    @test st.private == Dict(k => (2, 2) for k = 1:3)
end

@testset "hooks take effect" begin
    clients, _ = quadratic_clients(4, 3)
    plain, _ = fit_quadratic(clients, 4; rounds = 1)
    @test fit_quadratic(clients, 4; rounds = 1, rules = (Halve(),))[1] ≈ plain ./ 2
    @test all(iszero, fit_quadratic(clients, 4; rounds = 3, rules = (Freeze(),))[1])
end

@testset "only a client that takes part has a private state" begin
    clients, _ = quadratic_clients(2, 20)
    _, st =
        fit_quadratic(clients, 2; rounds = 2, clients_per_round = 3, rules = (Spy(:a, []),))
    cohort(round) = FedFlux.draw_cohort(CohortSampling(3), clients, 3, 0, round)
    @test sort(collect(keys(st.private))) == sort(union(cohort(1), cohort(2)))
end

@testset "what is no rule is refused" begin
    @test occursin(
        "rules contain",
        message(() -> Federated(Chain(Dense(1 => 1)); rules = (1,)))
    )
end

# Rules whose server sees each update with its sender: the hook, and the methods on it
# against their papers' equations in Float64.
include("../setup/known_clients.jl")
include("../setup/erased.jl")
include("../setup/labelled_clients.jl")

# Notes who sent what, and sends on the negative.
struct Noting <: Rule
    log::Vector{Any}
end
FedFlux.sees_each(::Noting) = true
function FedFlux.each!(r::Noting, s, u, ctx)
    push!(r.log, (; ctx.round, ctx.client, ctx.weight, ctx.share, delta = copy(u.delta)))
    return [something(s.seen, Int[]); ctx.client], Update(u; delta = -u.delta)
end
function FedFlux.server!(r::Noting, s, ū, ctx)
    push!(r.log, (; ctx.round, s.seen, ū.delta))
    return s.shared, ū
end

@testset "each! sees the updates in the order of the cohort, and changes them" begin
    clients, _ = sized_clients(3, UNEQUAL)
    log = []
    f, _ = known_federation(clients, UNEQUAL, nothing, :samples, PLAIN;
        rules = (FedProx(mu = 0.1), Noting(log)))
    pool = WorkerPool(f, clients; threads = 1)
    st = State(f, pool)
    for (round, cohort) in enumerate(([3, 1, 5], [5, 8]))
        empty!(log)
        before = copy(st.θ)
        round!(f, st, clients, cohort; pool)
        sent, (of_round,) = log[1:(end-1)], log[end:end]
        @test [m.client for m in sent] == cohort == of_round.seen
        @test all(m -> m.round == round && m.weight == UNEQUAL[m.client], sent)
        @test sum(m -> m.share, sent) ≈ 1
        @test of_round.delta ≈ -sum(m -> m.share .* m.delta, sent) rtol = 1e-5
        @test st.θ ≈ before .+ of_round.delta
    end
end

@testset "each! is refused where nobody sees an update: $(nameof(typeof(r)))" for r in
                                                                                  (
    Noting([]),
    FedDisco(), IFCA())
    refused(; rules = (r,), kw...) =
        message(() -> Federated(linear(); rules, weights = :uniform, kw...))
    @test occursin("sees each update with its sender", refused(; aggregate = SecureMean()))
    for other in (ClientDP(), DPFTRL(), CountSketch(3, 40, 10))
        @test occursin("don't go together", refused(; rules = (r, other)))
        @test occursin("don't go together", refused(; rules = (other, r)))
    end
end

@testset "FedDisco follows its equations: $weights" for weights in (:samples, :uniform)
    a, b = 1.5, 0.0
    f = Federated(linear(); batchsize = 71, epochs = 3, optimizer = Descent(0.3), weights,
        rules = (erased(FedDisco(; a, b)),))
    st = ended(f, Clients(X, Y, PARTS); rounds = 2, clients_per_round = 3)
    θ = Float64.(FedFlux.flatten(f.model))
    p = weights === :samples ? length.(PARTS) ./ 71 : fill(1 / 3, 3)
    d = [sqrt(sum(abs2, count_labels(k) ./ length(PARTS[k]) .- 1 / 3)) for k = 1:3]
    q = max.(p .- a .* d ./ 3 .+ b, 0)
    for _ = 1:2
        Δ(k) =
            local_steps(Descent(0.3), θ, 3,
                w -> softmax_gradient(w, X[:, PARTS[k]], Y[PARTS[k]]), 0.3) - θ
        θ = θ + sum(q[k] * Δ(k) for k = 1:3) / sum(q)
    end
    @test st.θ ≈ θ rtol = 1e-4
    @test count(>(0), q) == 2
    plain(rules...) = ended(Federated(linear(); rules, weights), Clients(X, Y, PARTS);
        rounds = 2, clients_per_round = 3).θ
    @test plain(FedDisco(a = 0, b = 0)) ≈ plain() rtol = 1e-5
end

"Quadratic clients of two groups, the second with optima far from those of the first."
function two_groups()
    clients, _ = sized_clients(3, UNEQUAL)
    x = copy(clients.x)
    owner = reduce(vcat, fill(k, n) for (k, n) in enumerate(UNEQUAL))
    x[4:6, owner .> 4] .+= 20
    return Clients(x, clients.y, [findall(==(k), owner) for k = 1:8])
end

@testset "IFCA follows its equations, and recovers two groups: $name" for (
    name,
    sampling
) in
                                                                          SAMPLINGS

    clients, start = two_groups(), Float32[3, -1, 8]
    f = Federated(Point(start); loss = mean_of_outputs, batchsize = 100, epochs = 2,
        optimizer = Descent(0.1f0), rules = (erased(IFCA(clusters = 2)),), seed = 5)
    rounds = name == "all" ? 150 : 12
    at = cumsum(UNEQUAL)
    a, b = Float64.(clients.x[1:3, at]), Float64.(clients.x[4:6, at])
    q = Known(a, b, fill(2, 8), UNEQUAL, 0.1, Descent(0.1f0))
    θ = [Float64.(m) for m in State(f, WorkerPool(f, clients; threads = 1)).shared[1]]
    @test sort(θ[1]) == sort(θ[2]) && θ[1] == start && θ[1] != θ[2]
    st = ended(f, clients; rounds, sampling)
    chosen = Dict{Int,Int}()
    for round = 1:rounds
        S = draw_cohort(sampling, clients, sampling.clients_per_round, f.seed, round)
        foreach(k -> chosen[k] = argmin([loss(q, k, θ[j]) for j = 1:2]), S)
        θ = map(1:2) do j
            own = filter(k -> chosen[k] == j, S)
            isempty(own) ? θ[j] :
            θ[j] + weighted(q, own, k -> train(q, k, θ[j], w -> ∇(q, k, w)))
        end
    end
    @test all(distance.(st.shared[1], θ) .< 2e-3)
    @test st.θ ≈ sum(st.shared[1]) / 2
    @test all(k -> st.private[k][1].cluster == chosen[k], keys(chosen))
    k = first(keys(chosen))
    m = FedFlux.personal!(f.rules, st.shared, st.private[k], (; w = copy(st.θ), stats = []))
    @test m.w == st.shared[1][chosen[k]]
    name == "all" || continue
    # The groups as they were planted, and each model at the balance of its own clients.
    groups = [findall(k -> chosen[k] == j, 1:8) for j = 1:2]
    @test sort(groups) == [1:4, 5:8]
    for (j, group) in enumerate(groups)
        pull(k) = (1 .- (1 .- 0.1 .* a[:, k]) .^ 2) .* (b[:, k] .- st.shared[1][j])
        @test distance(weighted(q, group, pull), zeros(3)) < 1e-3
    end
end

@testset "IFCA: models of zeros take different clients" begin
    clients = two_groups()
    f = Federated(Point(zeros(Float32, 3)); loss = mean_of_outputs, batchsize = 100,
        optimizer = Descent(0.1f0), rules = (erased(IFCA(clusters = 3)),))
    st = ended(f, clients; rounds = 1, clients_per_round = 8)
    @test [st.private[k][1].cluster for k = 1:8] == [1, 2, 3, 1, 2, 3, 1, 2]
    @test allunique(st.shared[1])
    @test occursin("each cluster's model takes the mean",
        message(() -> Federated(linear(); rules = (IFCA(),), server = FedAdam())))
end

# Further methods, each against its paper's equations in Float64.
include("../setup/known_clients.jl")
include("../setup/erased.jl")
include("../setup/labelled_clients.jl")

# Where each rule ends is compared with what follows from its equations alone.
function rounds_of(r::FedExP, q)
    return function (θ, S)
        Δ = Dict(k => train(q, k, θ, w -> ∇(q, k, w)) for k in S)
        mean = weighted(q, S, k -> Δ[k])
        spread = weighted(q, S, k -> sum(abs2, Δ[k]))
        return θ + max(1, spread / (2 * (sum(abs2, mean) + r.eps))) * mean
    end
end

function rounds_of(r::FedCM, q)
    m = zeros(size(q.a, 1))
    return function (θ, S)
        mix(k, w) = r.alpha * ∇(q, k, w) + (1 - r.alpha) * m
        mean = weighted(q, S, k -> train(q, k, θ, w -> mix(k, w)))
        m = -mean / (weighted(q, S, k -> q.steps[k]) * q.η)
        return θ + mean
    end
end

function rounds_of(r::FedDC, q)
    α, hₖ, dₖ = Float64(r.alpha), zeros_for(q), zeros_for(q)
    p = q.weights / sum(q.weights)
    return function (θ, S)
        d = sum(p .* dₖ)
        step(k, w) = ∇(q, k, w) + α * (hₖ[k] + w - θ) + dₖ[k] - d
        Δ = Dict(k => train(q, k, θ, w -> step(k, w)) for k in S)
        foreach(k -> (hₖ[k] += Δ[k]; dₖ[k] = Δ[k] / (q.steps[k] * q.η)), S)
        return θ + weighted(q, S, k -> Δ[k]) + sum(p .* hₖ)
    end
end

function rounds_of(r::FedADMM, q)
    ρ, αₖ, uₖ = Float64(r.rho), zeros_for(q), zeros_for(q)
    return function (θ, S)
        Δ = Dict(
            k => train(q, k, θ, w -> ∇(q, k, w) + αₖ[k] + ρ * (w - θ)) for k in S)
        foreach(k -> αₖ[k] += ρ * Δ[k], S)
        u = Dict(k => θ + Δ[k] + αₖ[k] / ρ for k in S)
        η = something(r.eta, share(q, S))
        θ = θ + η * weighted(q, S, k -> u[k] - uₖ[k])
        foreach(k -> uₖ[k] = u[k], S)
        return θ
    end
end

# Not the paper's: as NIID-Bench runs it, the correction moves the model beside the
# momentum.
function rounds_of(::Scaffold, q)
    cₖ, c, ρ = zeros_for(q), zeros(size(q.a, 1)), q.optimizer.rho
    return function (θ, S)
        Δ = Dict(k => begin
            w, v = θ, zero(θ)
            for _ = 1:q.steps[k]
                v = ρ * v + ∇(q, k, w)
                w = w - q.η * v - q.η * (c - cₖ[k])
            end
            w - θ
        end for k in S)
        new = Dict(k => cₖ[k] - c - Δ[k] / (q.steps[k] * q.η) for k in S)
        c = c + share(q, S) * weighted(q, S, k -> new[k] - cₖ[k])
        foreach(k -> cₖ[k] = new[k], S)
        return θ + weighted(q, S, k -> Δ[k])
    end
end

# The number of steps is the same for all, drawn by the server after each round.
function rounds_of(r::Scaffnew, q)
    hₖ, steps, round = zeros_for(q), floor(Int, 1 / r.p + 0.5), 0
    return function (θ, S)
        round += 1
        K(k) = min(steps, q.steps[k])
        w = Dict(k => local_steps(PLAIN, θ, K(k), w -> ∇(q, k, w) - hₖ[k], q.η) for k in S)
        mean = weighted(q, S, k -> w[k])
        foreach(k -> hₖ[k] += r.p / q.η * (mean - w[k]), S)
        u = rand(Stream(5, :rules, round, 0), Float64)
        steps = 1 + floor(Int, log(1 - u) / log(1 - r.p))
        return mean
    end
end

rounds_of(r::TERM, q) = function (θ, S)
    tilt(k) = exp(r.t * loss(q, k, θ))
    Δ(k) = train(q, k, θ, w -> ∇(q, k, w))
    return θ + weighted(q, S, k -> tilt(k) * Δ(k)) / weighted(q, S, tilt)
end

const FOLLOWED = (FedExP(), FedCM(alpha = 0.3), FedDC(alpha = 0.2), FedADMM(rho = 0.5),
    FedADMM(rho = 0.5, eta = 0.7), TERM(t = 0.1), TERM(t = -0.2),
    Scaffold(momentum = true), Scaffnew(p = 0.2))

@testset "$rule follows its equations: $weights, $name of $sizes" for rule in FOLLOWED,
    weights in (:samples, :uniform), (name, sampling) in SAMPLINGS,
    sizes in (UNEQUAL, EQUAL)

    # The paper's equations of Scaffnew are for all clients.
    rule isa Scaffnew && name != "all" && continue
    # Few rounds of FedExP: near the end its step is a quotient of two vanishing numbers.
    rounds = rule isa FedExP ? 8 : 30
    clients, _ = sized_clients(3, sizes)
    optimizer = rule isa Scaffold ? MOMENTUM : PLAIN
    f, q = known_federation(clients, sizes, erased(rule), weights, optimizer)
    st = ended(f, clients; rounds, sampling)
    θ, step = zeros(3), rounds_of(rule, q)
    for round = 1:rounds
        cohort = draw_cohort(sampling, clients, sampling.clients_per_round, f.seed, round)
        isempty(cohort) || (θ = step(θ, cohort))
    end
    @test distance(st.θ, θ) < 1e-3 && sqrt(sum(abs2, θ)) > 0.3
end

const REACHING = (FedDC(alpha = 0.5), FedADMM(rho = 0.5), Scaffnew(p = 0.3))

@testset "$rule reaches the optimum: $name" for rule in REACHING,
    (name, sampling) in SAMPLINGS

    clients, optimum = sized_clients(3, UNEQUAL)
    f, _ = known_federation(clients, UNEQUAL, erased(rule), :samples, PLAIN)
    st = ended(f, clients; rounds = name == "all" ? 500 : 1500, sampling)
    @test distance(st.θ, optimum.samples) < 2e-3
end

@testset "FedADMM: θ stays the weighted mean of the augmented models" begin
    clients, _ = sized_clients(3, UNEQUAL)
    f, _ = known_federation(clients, UNEQUAL, FedADMM(rho = 0.5), :samples, PLAIN)
    st = ended(f, clients; rounds = 3, clients_per_round = 2)
    u(k) = haskey(st.private, k) ? st.private[k][1].u : zeros(3)
    @test length(st.private) < 8
    @test st.θ ≈ sum(UNEQUAL[k] * u(k) for k = 1:8) / sum(UNEQUAL) rtol = 1e-4
end

@testset "TERM ends where Σ pₖ exp(tFₖ) ∇Fₖ is 0: t = $t" for t in (-0.05, 0.2, 5)
    clients, _ = sized_clients(3, UNEQUAL)
    f, q = known_federation(clients, UNEQUAL, erased(TERM(; t)), :samples,
        Descent(t == 5 ? 0.004f0 : 0.1f0); maxsteps = 1)
    st = ended(f, clients; rounds = 1500, clients_per_round = 8)
    worst = maximum(k -> loss(q, k, st.θ), 1:8)
    pull(k) = exp(t * (loss(q, k, st.θ) - worst)) .* ∇(q, k, st.θ)
    @test sqrt(sum(abs2, weighted(q, 1:8, pull))) <
          2e-3 * weighted(q, 1:8, k -> sqrt(sum(abs2, pull(k))))
end

@testset "$rule: what is shared ends at the optimum" for rule in (LGFedAvg(), FedBABU())
    clients, optimum = sized_clients(4, UNEQUAL)
    f = Federated(TwoPoints(ones(Float32, 2), ones(Float32, 2)); loss = mean_of_outputs,
        batchsize = 100, optimizer = Descent(0.1f0), rules = (erased(rule),))
    st = ended(f, clients; rounds = 600, clients_per_round = 8)
    shared, other = rule isa LGFedAvg ? (3:4, 1:2) : (1:2, 3:4)
    @test distance(st.θ[shared], optimum.samples[shared]) < 1e-3
    @test st.θ[other] == ones(2)
    for k = 1:8
        own = clients.x[(4 .+ (1:2)), cumsum(UNEQUAL)[k]]
        rule isa LGFedAvg ? (@test distance(st.private[k][1].w, own) < 1e-3) :
        (@test st.private[k][1] === true)
    end
end

@testset "FedALA follows its equations: eta = $eta" for eta in (0.05, 1)
    clients, _ = sized_clients(4, UNEQUAL)
    rule = FedALA(; eta, start_epochs = 3)
    f = Federated(TwoPoints(ones(Float32, 2), ones(Float32, 2)); loss = mean_of_outputs,
        batchsize = 100, optimizer = Descent(0.1f0), rules = (erased(rule),), seed = 5)
    st = ended(f, clients; rounds = 6, clients_per_round = 4)
    at = cumsum(UNEQUAL)
    a, b = Float64.(clients.x[1:4, at]), Float64.(clients.x[5:8, at])
    head, θ, own = 3:4, ones(4), Dict{Int,Any}()
    for round = 1:6
        cohort = draw_cohort(CohortSampling(4), clients, 4, f.seed, round)
        models = map(cohort) do k
            ŵ, W, times = copy(θ), ones(2), 0
            if haskey(own, k)
                old, W, times = own[k]
                gap = θ[head] - old[head]
                for _ = 1:(times==1 ? 3 : 1)
                    ŵ[head] = old[head] + gap .* W
                    slope = a[head, k] .* (ŵ[head] - b[head, k])
                    W = clamp.(W - eta .* slope .* gap, 0, 1)
                end
                ŵ[head] = old[head] + gap .* W
            end
            w = ŵ - 0.1 .* a[:, k] .* (ŵ - b[:, k])
            own[k] = (w, W, times + 1)
            w
        end
        θ = sum(UNEQUAL[cohort] .* models) / sum(UNEQUAL[cohort])
    end
    @test st.θ ≈ θ rtol = 1e-4
    for (k, (w, W, times)) in own
        @test st.private[k][1].w ≈ w rtol = 1e-4
        @test st.private[k][1].weights ≈ W atol = 1e-4
    end
    @test any(W -> any(v -> v < 0.99, W), [o[2] for o in values(own)])
end

"Three full-batch steps of each client; what a rule makes of the loss is `terms(k)`."
function label_round(θ, terms, optimizer)
    w(k) = local_steps(optimizer, θ, 3,
        v -> softmax_gradient(v, X[:, PARTS[k]], Y[PARTS[k]]; terms(k)...),
        optimizer.eta)
    return sum(length(PARTS[k]) .* w(k) for k = 1:3) ./ 71
end
label_rounds(θ, terms, o) = label_round(label_round(θ, terms, o), terms, o)

const LABELLED = (
    FedLC(tau = 0.8) => k -> (; offset = -0.8 .* max.(count_labels(k), 1) .^ (-0.25)),
    FedRoD(personal = false) => k -> (; offset = log.(max.(count_labels(k), 1))),
    FedRS(alpha = 0.3, few = 1) =>
        k -> (; scale = [c <= 1 ? 0.3 : 1.0 for c in count_labels(k)]))

@testset "$(name_of(rule)) with $(name_of(o)) on $trainer" for (rule, terms) in LABELLED,
    o in (Descent(0.3), Momentum(0.1, 0.5)), trainer in (:zygote, :fast)

    make() = Federated(linear(); batchsize = 71, epochs = 3, trainer, optimizer = o,
        rules = (erased(rule),))
    if rule isa FedRS && o isa Momentum
        @test occursin("FedRS needs clients that train with sgd", message(make))
        continue
    end
    f = make()
    clients = Clients(X, Y, PARTS)
    st = ended(f, clients; rounds = 2, clients_per_round = 3)
    θ = Float64.(FedFlux.flatten(f.model))
    @test st.θ ≈ label_rounds(θ, terms, o) rtol = 1e-4
    @test distance(st.θ, label_rounds(θ, k -> (;), o)) > 0.05
end

@testset "FedRoD's private heads learn on the features alone" begin
    clients = Clients(X, Y, PARTS)
    f = Federated(linear(); batchsize = 71, epochs = 3, optimizer = Descent(0.3),
        rules = (FedRoD(),), trainer = :zygote)
    st = ended(f, clients; rounds = 2, clients_per_round = 3)
    plain = Federated(linear(); batchsize = 71, epochs = 3, optimizer = Descent(0.3),
        rules = (FedRoD(personal = false),), trainer = :zygote)
    @test ended(plain, clients; rounds = 2, clients_per_round = 3).θ == st.θ
    θ₀ = Float64.(FedFlux.flatten(f.model))
    terms(k) = (; offset = log.(max.(count_labels(k), 1)))
    # The head P of each client, beside the model of each round.
    P = zeros(21)
    θ = θ₀
    for round = 1:2
        v = local_steps(Descent(0.3), θ + P, 3,
            w -> softmax_gradient(w, X[:, 21:70], Y[21:70]), 0.3)
        P = v - θ
        round == 1 && (θ = label_round(θ, terms, Descent(0.3)))
    end
    @test st.private[2][1].head ≈ P rtol = 1e-4
    m = FedFlux.personal!(
        f.rules,
        st.shared,
        st.private[2],
        (; w = copy(st.θ), stats = Float32[])
    )
    @test m.w ≈ st.θ + P rtol = 1e-4
end

@testset "rules on labels refuse what they can't treat" begin
    for rule in (FedLC(), FedRoD(), FedRS())
        @test occursin("this one ends with",
            message(() -> Federated(Chain(Dense(6 => 3), relu); rules = (rule,))))
        f = Federated(linear(); loss = MSE(), rules = (rule,))
        y = zeros(Float32, 3, 71)
        @test occursin("needs cross-entropy on integer labels",
            message(
                () -> ended(f, Clients(X, y, PARTS); rounds = 1, clients_per_round = 3)
            ))
    end
end

@testset "a frozen last layer is refused" begin
    net = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
    for rule in (FedLC(), FedRoD(), FedRS(), FedProto()),
        freeze in (["layers.3"], ["layers.3.weight"], ["layers.3.bias"])

        @test occursin("keeps it or a part of it as it is",
            message(() -> Federated(net; rules = (rule,), freeze)))
    end
    @test Federated(net; rules = (FedLC(),), freeze = ["layers.2"]) isa Federated
end

@testset "FedAvg is recovered" begin
    clients, _ = sized_clients(3, UNEQUAL)
    after(rule) = ended(known_federation(clients, UNEQUAL, rule, :samples, PLAIN)[1],
        clients; rounds = 3, clients_per_round = 3).θ
    @test after(FedCM(alpha = 1)) ≈ after(nothing) rtol = 1e-5
    @test after(TERM(t = 0)) ≈ after(nothing) rtol = 1e-5
    @test after(Scaffold(momentum = true)) ≈ after(Scaffold()) rtol = 1e-4
    labelled(rules...) = ended(Federated(linear(); rules), Clients(X, Y, PARTS);
        rounds = 2, clients_per_round = 3).θ
    @test labelled(FedLC(tau = 0)) ≈ labelled() rtol = 1e-5
    @test labelled(FedRS(alpha = 1)) == labelled()
end

# Quadratic clients, whose rounds and optima are known. Every rule × weights ×
# participation × sizes × optimizer follows the papers' equations, computed here in
# Float64, and ends where it should.
include("../setup/known_clients.jl")

"The parameters after rounds of five full-batch steps per client."
function after(clients, d; rounds = 2500, n = 2, sampling = CohortSampling(n), kw...)
    f = Federated(Point(zeros(Float32, d)); loss = mean_of_outputs, batchsize = 100,
        epochs = 5, optimizer = Descent(0.05f0), kw...)
    st = ended(f, clients; rounds, sampling)
    return st.θ, st
end

const CASES = Iterators.product((Scaffold(), FedDyn(alpha = 0.5)), (:samples, :uniform),
    SAMPLINGS, (UNEQUAL, EQUAL))

@testset "$rule reaches the optimum: $weights, $name of $sizes" for (
    rule,
    weights,
    (name, sampling),
    sizes
) in CASES

    clients, optimum = sized_clients(3, sizes)
    θ, st = after(clients, 3; rules = (rule,), weights, sampling)
    @test distance(θ, optimum[weights]) < 2e-3
    rule isa Scaffold || continue
    # c is the weighted mean of the cₖ, those of clients that never took part being zero.
    p = weights === :samples ? sizes ./ sum(sizes) : fill(1 / 8, 8)
    mean_c = sum(p[k] .* get(st.private, k, (zeros(3),))[1] for k = 1:8)
    @test st.shared[1] ≈ mean_c atol = 1e-4
end

const COMPRESSORS = (TopK(0.4), TopK(0.4; feedback = false), Quantize(4), QSGD(8),
    SignSGD(), Ternary())

@testset "SCAFFOLD through $compressor: c stays the mean of the cₖ" for compressor in
                                                                        COMPRESSORS

    clients, optimum = sized_clients(3, EQUAL)
    θ, st = after(clients, 3; rounds = 300, rules = (compressor, Scaffold()))
    mean_c = sum(get(st.private, k, (zeros(3),))[1] for k = 1:8) ./ 8
    @test st.shared[1] ≈ mean_c atol = 1e-3 * max(1, maximum(abs, mean_c))
end


"‖a‖₁ of FedNova: each step's gradient counts as often as it moves the model."
amount(::Descent, steps) = Float64(steps)
amount(o::Momentum, steps) = sum(sum(o.rho^j for j = 0:(steps-i)) for i = 1:steps)

"The nearest point of the simplex, by bisection for the shift."
function simplex_point(v)
    low, high = minimum(v) - 1, maximum(v)
    for _ = 1:200
        mid = (low + high) / 2
        sum(max.(v .- mid, 0)) > 1 ? (low = mid) : (high = mid)
    end
    return max.(v .- (low + high) / 2, 0)
end

# round(rule, q) gives a function of (θ, cohort) that holds the states of all parties.
rounds_of(::Nothing, q) =
    (θ, S) -> θ + weighted(q, S, k -> train(q, k, θ, w -> ∇(q, k, w)))

rounds_of(r::FedProx, q) =
    (θ, S) ->
        θ + weighted(q, S, k -> train(q, k, θ, w -> ∇(q, k, w) + r.mu * (w - θ)))

rounds_of(::FedNova, q) = function (θ, S)
    a(k) = amount(q.optimizer, q.steps[k])
    d = weighted(q, S, k -> train(q, k, θ, w -> ∇(q, k, w)) / a(k))
    return θ + weighted(q, S, a) * d
end

rounds_of(::FedSGD, q) = (θ, S) -> θ - q.η * weighted(q, S, k -> ∇(q, k, θ))

function rounds_of(::Scaffold, q)
    cₖ, c = zeros_for(q), zeros(size(q.a, 1))
    return function (θ, S)
        Δ = Dict(k => train(q, k, θ, w -> ∇(q, k, w) - cₖ[k] + c) for k in S)
        new = Dict(k => cₖ[k] - c - Δ[k] / (q.steps[k] * q.η) for k in S)
        c = c + share(q, S) * weighted(q, S, k -> new[k] - cₖ[k])
        foreach(k -> cₖ[k] = new[k], S)
        return θ + weighted(q, S, k -> Δ[k])
    end
end

function rounds_of(r::FedDyn, q)
    α = Float64(r.alpha)
    ∇ₖ, h = zeros_for(q), zeros(size(q.a, 1))
    return function (θ, S)
        Δ = Dict(
            k => train(q, k, θ, w -> ∇(q, k, w) - ∇ₖ[k] + α * (w - θ)) for k in S)
        foreach(k -> ∇ₖ[k] -= α * Δ[k], S)
        mean = weighted(q, S, k -> Δ[k])
        h = h - α * share(q, S) * mean
        return θ + mean - h / α
    end
end

rounds_of(r::QFFL, q) = function (θ, S)
    L = 1 / q.η
    Δ = Dict(k => -L * train(q, k, θ, w -> ∇(q, k, w)) for k in S)
    h(k) = r.q * loss(q, k, θ)^(r.q - 1) * sum(abs2, Δ[k]) + L * loss(q, k, θ)^r.q
    return θ - weighted(q, S, k -> loss(q, k, θ)^r.q * Δ[k]) / weighted(q, S, h)
end

function rounds_of(r::AFL, q)
    N = nclients(q)
    λ = fill(1 / N, N)
    return function (θ, S)
        total = sum(λ[S])
        mean =
            total == 0 ? zero(θ) :
            sum(λ[k] * train(q, k, θ, w -> ∇(q, k, w)) for k in S) / total
        step = [k in S ? r.lr * N / length(S) * loss(q, k, θ) : 0.0 for k = 1:N]
        λ = simplex_point(λ + step)
        return θ + mean
    end
end

const FOLLOWED =
    (nothing => (PLAIN, MOMENTUM, ADAM), FedProx(mu = 0.3) => (PLAIN, MOMENTUM, ADAM),
        FedNova() => (PLAIN, MOMENTUM), FedDyn(alpha = 0.5) => (PLAIN, MOMENTUM, ADAM),
        Scaffold() => (PLAIN,), FedSGD() => (PLAIN,),
        QFFL(q = 1) => (PLAIN, MOMENTUM, ADAM),
        AFL(lr = 0.02) => (PLAIN, MOMENTUM, ADAM))

const PAIRS = [(rule, o) for (rule, optimizers) in FOLLOWED for o in optimizers]

@testset "$(name_of(rule)) with $(name_of(o)) follows its equations" for (rule, o) in PAIRS
    @testset "$weights, $name of $sizes" for weights in (:samples, :uniform),
        (name, sampling) in SAMPLINGS, sizes in (UNEQUAL, EQUAL)

        clients, _ = sized_clients(3, sizes)
        f, q = known_federation(clients, sizes, rule, weights, o)
        st = ended(f, clients; rounds = 30, sampling)
        θ, step = zeros(3), rounds_of(rule, q)
        for round = 1:30
            cohort =
                draw_cohort(sampling, clients, sampling.clients_per_round, f.seed, round)
            isempty(cohort) || (θ = step(θ, cohort))
        end
        @test distance(st.θ, θ) < 1e-3 && sqrt(sum(abs2, θ)) > 0.3
    end
end

@testset "every other optimizer is refused: $(name_of(rule))" for (rule, taken) in FOLLOWED
    for optimizer in setdiff((PLAIN, MOMENTUM, ADAM), taken)
        @test occursin("needs clients that train with sgd",
            message(() -> Federated(Point(zeros(Float32, 3)); optimizer, rules = (rule,))))
    end
end

# Where a rule ends. With part of the clients each cohort pulls to its own weighted mean;
# with a falling rate the model ends where these pulls cancel: at the optimum for the
# weights E[1(k in the cohort) · wₖ / Σ of the cohort's weights].
"The mean weight of each client in the cohorts that may be drawn, and 0s where none is."
function mean_weights(weights, name)
    N = length(weights)
    cohorts =
        name == "all" ? [1:N] :
        name == "two" ? [[i, j] for i = 1:N for j = 1:(i-1)] :
        [[k for k = 1:N if isodd(mask >> (k - 1))] for mask = 1:(2^N-1)]
    chance(S) =
        name == "Poisson" ? 0.25^length(S) * 0.75^(N - length(S)) : 1 / length(cohorts)
    p = zeros(N)
    for S in cohorts
        p[S] .+= chance(S) .* weights[S] ./ sum(weights[S])
    end
    return p ./ sum(p)
end

"Where Σ pₖ cₖ aₖ (bₖ − θ) is zero."
balance(q, p, c = ones(size(q.a))) =
    vec(sum(c .* q.a .* q.b .* p'; dims = 2) ./ sum(c .* q.a .* p'; dims = 2))

const ENDING = (nothing, FedProx(mu = 0.3), FedNova(), FedSGD())
const ENDS = Iterators.product(ENDING, (:samples, :uniform), SAMPLINGS, (UNEQUAL, EQUAL))

@testset "$(name_of(rule)) ends at its target: $weights, $name of $sizes" for (
    rule,
    weights,
    (name, sampling),
    sizes
) in ENDS

    clients, _ = sized_clients(3, sizes)
    f, q = known_federation(clients, sizes, rule, weights, Descent(0.1f0);
        maxsteps = rule isa FedSGD ? typemax(Int) : 1,
        schedule = name == "all" ? () : (r -> 1 / (1 + r / 100),))
    rule isa FedSGD && (q.steps .= 1)
    pool = WorkerPool(f, clients.x; threads = 1)
    st = State(f, pool)
    fit!(
        f,
        st,
        clients;
        rounds = name == "all" ? 600 : 6000,
        sampling,
        pool,
        warn = Returns(nothing)
    )
    target = balance(q, mean_weights(q.weights, name))
    @test distance(st.θ, target) < (name == "all" ? 1e-3 : 0.3)
end

# With several local steps FedAvg and FedProx end elsewhere, by how much a client contracts
# to its own optimum: 1 − (1 − η a)^K, and 1 − (1 − η(a + μ))^K times a/(a + μ).
@testset "five local steps: FedAvg's and FedProx's fixed points" begin
    clients, _ = sized_clients(3, UNEQUAL)
    for rule in (nothing, FedProx(mu = 0.3)), weights in (:samples, :uniform)
        f, q = known_federation(clients, UNEQUAL, rule, weights, PLAIN; epochs = 5)
        μ = rule === nothing ? 0.0 : 0.3
        pull = @. (1 - (1 - q.η * (q.a + μ))^q.steps') / (q.a + μ)
        st = ended(f, clients; rounds = 600, clients_per_round = 8)
        @test distance(st.θ, balance(q, q.weights, pull)) < 1e-3
        @test distance(st.θ, balance(q, q.weights)) > 0.05
    end
end

@testset "Ditto's models end between the global one and the client's own: $lam" for lam in
                                                                                    [
    0.1f0,
    1
]
    clients, _ = sized_clients(3, UNEQUAL)
    f, q = known_federation(clients, UNEQUAL, Ditto(; lam), :samples, PLAIN)
    st = ended(f, clients; rounds = 800, clients_per_round = 8)
    for k = 1:8
        v = @. (q.a[:, k] * q.b[:, k] + lam * st.θ) / (q.a[:, k] + lam)
        @test distance(st.private[k][1].w, v) < 1e-3
    end
end

@testset "AFL ends where the worst clients' losses meet" begin
    # On a line: F₁ = (w + 1)², F₂ = ½ (w − 2)², and one between that matters to
    # nobody. The
    # worst of them is smallest where √2 (w + 1) = 2 − w.
    x = Float32[2 1 1; -1 2 0.3]
    clients = Clients(x, zeros(Float32, 3), [[1], [2], [3]])
    f = Federated(Point(zeros(Float32, 1)); loss = mean_of_outputs,
        optimizer = Descent(0.05f0),
        rules = (AFL(lr = 0.01),), schedule = (r -> 1 / (1 + r / 500),))
    st = ended(f, clients; rounds = 8000, clients_per_round = 3)
    @test only(st.θ) ≈ (2 - sqrt(2)) / (1 + sqrt(2)) atol = 0.02
    @test st.shared[1][3] < 0.01
end

@testset "q-FFL ends where Σ pₖ Fₖ^q ∇Fₖ is 0: q = $q₀" for q₀ in (0, 1, 3),
    weights in (:samples, :uniform)

    clients, _ = sized_clients(3, UNEQUAL)
    f, q = known_federation(
        clients,
        UNEQUAL,
        QFFL(q = q₀),
        weights,
        Descent(0.1f0);
        maxsteps = 1
    )
    st = ended(f, clients; rounds = 3000, clients_per_round = 8)
    pull(k) = loss(q, k, st.θ)^q₀ .* ∇(q, k, st.θ)
    @test sqrt(sum(abs2, weighted(q, 1:8, pull))) <
          1e-3 * weighted(q, 1:8, k -> sqrt(sum(abs2, pull(k))))
end

# Two arrays, the second of which stays with the client.
const PRIVATE = (FedPer(arrays = ["head"]), FedRep(arrays = ["head"]))

@testset "$(name_of(rule)): private arrays end at the client's optimum" for rule in PRIVATE
    clients, _ = sized_clients(4, UNEQUAL)
    f = Federated(TwoPoints(zeros(Float32, 2), zeros(Float32, 2)); loss = mean_of_outputs,
        batchsize = 100, optimizer = Descent(0.1f0), rules = (rule,))
    st = ended(f, clients; rounds = 600, clients_per_round = 8)
    data = Float64.(clients.x[:, cumsum([1; UNEQUAL[1:(end-1)]])])
    q = Known(data[1:4, :], data[5:8, :], ones(8), UNEQUAL, 0.1, PLAIN)
    @test distance(st.θ[1:2], balance(q, q.weights)[1:2]) < 1e-3 && st.θ[3:4] == zeros(2)
    for k = 1:8
        @test distance(st.private[k][1].w, q.b[3:4, k]) < 1e-3
    end
end

# Methods that ask for the gradient of a batch at other points: each against its paper's
# equations in Float64, on quadratic clients, whose batches all have the same gradient.
include("../setup/known_clients.jl")
include("../setup/erased.jl")
include("../setup/allocations.jl")

"What a client's steps make of θ, given one step `w ← step(w)`."
repeated(step, θ, steps) = foldl((w, _) -> step(w), 1:steps; init = θ)

sharp(r, q, k, w) =
    let g = ∇(q, k, w), scaled = r.adaptive ? w .* g : g
        scale = max(sqrt(sum(abs2, scaled)), 1e-12)
        ∇(q, k, w .+ (r.rho / scale) .* (r.adaptive ? w .* scaled : scaled))
    end

rounds_of(r::FedSAM, q) =
    (θ, S) -> θ + weighted(q, S, k -> train(q, k, θ, w -> sharp(r, q, k, w)))

# MoFedSAM, Algorithm 2 of arXiv:2206.02618
function rounds_of((r, cm)::Tuple{FedSAM,FedCM}, q)
    m, α = zeros(size(q.a, 1)), cm.alpha
    return function (θ, S)
        mean = weighted(q, S,
            k -> train(q, k, θ, w -> α * sharp(r, q, k, w) + (1 - α) * m))
        m = -mean / (weighted(q, S, k -> q.steps[k]) * q.η)
        return θ + mean
    end
end

rounds_of(r::PerFedAvg, q) = function (θ, S)
    α, cycle = r.alpha, r.hessian ? 3 : 2
    hessian(k) = r.hessian ? 1 .- α .* q.a[:, k] : 1.0
    meta(k, w) = hessian(k) .* ∇(q, k, w - α * ∇(q, k, w))
    Δ(k) = repeated(w -> w - q.η * meta(k, w), θ, q.steps[k] ÷ cycle) - θ
    return θ + weighted(q, S, Δ)
end

rounds_of(r::PFedMe, q) = function (θ, S)
    function Δ(k)
        v = θ
        w = repeated(θ, q.steps[k]) do w
            v = repeated(v -> v - r.inner_lr * (∇(q, k, v) + r.lam * (v - w)), v,
                r.inner_steps)
            w - q.η * r.lam * (w - v)
        end
        return w - θ
    end
    return θ + r.beta * weighted(q, S, Δ)
end

function rounds_of(r::MimeLite, q)
    m, β = zeros(size(q.a, 1)), r.beta
    return function (θ, S)
        Δ = weighted(q, S, k -> train(q, k, θ, w -> (1 - β) * ∇(q, k, w) + β * m))
        m = (1 - β) * weighted(q, S, k -> ∇(q, k, θ)) + β * m
        return θ + Δ
    end
end

# A round of the paper: all learn c, then they train. With part of the clients others do.
function rounds_of(r::Mime, q)
    m, c, β = zeros(size(q.a, 1)), nothing, r.beta
    return function (θ, S)
        c === nothing && return (c = weighted(q, S, k -> ∇(q, k, θ)); θ)
        g(k, w) = ∇(q, k, w) - ∇(q, k, θ) + c
        Δ = weighted(q, S, k -> train(q, k, θ, w -> (1 - β) * g(k, w) + β * m))
        m, c = (1 - β) * c + β * m, nothing
        return θ + Δ
    end
end

const FOLLOWED = (FedSAM(rho = 0.3), FedSAM(rho = 0.3, adaptive = true),
    (FedSAM(rho = 0.3), FedCM(alpha = 0.3)), PerFedAvg(alpha = 0.1),
    PerFedAvg(alpha = 0.1, hessian = true),
    PFedMe(lam = 2, inner_lr = 0.1, inner_steps = 3, beta = 1.5), MimeLite(beta = 0.6),
    Mime(beta = 0.6))

@testset "$rule follows its equations: $weights, $name of $sizes" for rule in FOLLOWED,
    weights in (:samples, :uniform), (name, sampling) in SAMPLINGS,
    sizes in (UNEQUAL, EQUAL)

    clients, _ = sized_clients(3, sizes)
    rules = rule isa Tuple ? rule : (rule,)
    f, q = known_federation(clients, sizes, nothing, weights, PLAIN;
        rules = erased.(rules), epochs = 3)
    st = ended(f, clients; rounds = 20, sampling)
    θ, step = zeros(3), rounds_of(rule, q)
    for round = 1:20
        cohort = draw_cohort(sampling, clients, sampling.clients_per_round, f.seed, round)
        isempty(cohort) || (θ = step(θ, cohort))
    end
    @test distance(st.θ, θ) < 1e-3 && sqrt(sum(abs2, θ)) > 0.1
end

"Where Σ pₖ cₖ aₖ (bₖ − θ) is zero."
balance(q, c) = vec(
    sum(c .* q.a .* q.b .* q.weights'; dims = 2) ./
    sum(c .* q.a .* q.weights'; dims = 2)
)

const ENDS = (PerFedAvg(alpha = 0.1) => q -> 1 .- 0.1 .* q.a,
    PerFedAvg(alpha = 0.1, hessian = true) => q -> (1 .- 0.1 .* q.a) .^ 2,
    # the gradient of the Moreau envelope: λ (w − v) with v = (a b + λ w)/(a + λ)
    PFedMe(lam = 2, inner_lr = 0.2, inner_steps = 30) => q -> 2 ./ (q.a .+ 2))

@testset "$rule ends where its objective's gradient is zero" for (rule, factor) in ENDS
    clients, _ = sized_clients(3, UNEQUAL)
    f, q = known_federation(clients, UNEQUAL, erased(rule), :samples, PLAIN; epochs = 3,
        maxsteps = rule isa PFedMe ? 1 : rule.hessian ? 3 : 2)
    st = ended(f, clients; rounds = 600, clients_per_round = 8)
    @test distance(st.θ, balance(q, factor(q))) < 1e-3
    @test distance(st.θ, balance(q, 1.0)) > 0.02
    for k = 1:8
        v = FedFlux.personal!(
            f.rules,
            st.shared,
            st.private[k],
            (; w = copy(st.θ), stats = [])
        )
        a, b = q.a[:, k], q.b[:, k]
        expected =
            rule isa PFedMe ? (@. (a * b + 2 * st.θ) / (a + 2)) :
            st.θ .- 0.1 .* ∇(q, k, st.θ)
        @test distance(v.w, expected) < 2e-3
    end
end

@testset "APFL: α = $α, adaptive = $adaptive" for α in (0.25f0, 0.9f0),
    adaptive in (false, true)

    clients, _ = sized_clients(3, UNEQUAL)
    f, q =
        known_federation(clients, UNEQUAL, erased(APFL(; alpha = α, adaptive)), :samples,
            PLAIN)
    plain, _ = known_federation(clients, UNEQUAL, nothing, :samples, PLAIN)
    st = ended(f, clients; rounds = 6, clients_per_round = 3)
    @test st.θ == ended(plain, clients; rounds = 6, clients_per_round = 3).θ
    θ, own = zeros(3), Dict{Int,Any}()
    for round = 1:6
        cohort = draw_cohort(CohortSampling(3), clients, 3, f.seed, round)
        models = map(cohort) do k
            v, a = get(own, k, (θ, Float64(α)))
            w = θ
            for i = 1:q.steps[k]
                g, used = ∇(q, k, a * v + (1 - a) * w), a
                adaptive && i == 1 && (a = clamp(a - q.η * sum(g .* (v - w)), 0, 1))
                v, w = v - q.η * used * g, w - q.η * ∇(q, k, w)
            end
            own[k] = (v, a)
            w
        end
        θ = sum(q.weights[cohort] .* models) / sum(q.weights[cohort])
    end
    for (k, (v, a)) in own
        m = FedFlux.personal!(
            f.rules,
            st.shared,
            st.private[k],
            (; w = copy(st.θ), stats = [])
        )
        @test distance(m.w, a * v + (1 - a) * θ) < 1e-3
        @test only(st.private[k][1].alpha) ≈ a atol = 1e-4
    end
    adaptive && @test any(a -> abs(a - α) > 0.05, last.(values(own)))
end

# A rule that asks for the gradient of its own batch at the same point and at another.
struct Asks <: Rule
    seen::Vector{Any}
end
function FedFlux.correct!(r::Asks, s, g, w, ctx)
    again, other = similar(g), similar(g)
    loss = ctx.regrad!(again, w)
    ctx.regrad!(other, w .+ 0.1f0)
    push!(r.seen, (; same = again ≈ g, moved = other != g, loss))
    return g
end

@testset "regrad! takes the same batch and leaves statistics, on $trainer" for trainer in
                                                                               (
    :zygote,
    :fast
)
    x, y = blobs(40)
    model = Chain(Dense(6 => 5; init = Flux.glorot_uniform(Stream(1, :init))),
        BatchNorm(5, tanh), Dense(5 => 3; init = Flux.glorot_uniform(Stream(2, :init))))
    seen = []
    run(rules) = ended(Federated(model; batchsize = 8, trainer, rules), Clients(x, y,
            [1:40]); rounds = 2, clients_per_round = 1)
    st = run((Asks(seen),))
    @test length(seen) == 10 && all(a -> a.same && a.moved && a.loss > 0, seen)
    plain = run(())
    @test st.θ == plain.θ && st.stats == plain.stats
end

@testset "a step that asks for more gradients allocates nothing: $rule" for rule in
                                                                            (
    FedSAM(),
    PFedMe(),
    APFL(),
    Mime(),
    PerFedAvg(hessian = true)
)
    @test allocated_in_steps(rule, softmax_regression(6, 3)) < 2000
end

@testset "FedAvg is recovered" begin
    clients, _ = sized_clients(3, UNEQUAL)
    after(rule) = ended(known_federation(clients, UNEQUAL, rule, :samples, PLAIN)[1],
        clients; rounds = 3, clients_per_round = 3).θ
    @test after(FedSAM(rho = 0)) == after(nothing)
    @test after(MimeLite(beta = 0)) ≈ after(nothing) rtol = 1e-6
end

@testset "Per-FedAvg says how many steps it needs" begin
    clients, _ = sized_clients(3, UNEQUAL)
    f, _ = known_federation(clients, UNEQUAL, PerFedAvg(), :samples, PLAIN; maxsteps = 1)
    @test occursin("needs at least 2 local steps",
        message(() -> ended(f, clients; rounds = 1, clients_per_round = 2)))
end

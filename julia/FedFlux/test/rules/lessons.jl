# Methods that add to the loss: their gradients, and rounds on both engines, against finite
# differences in Float64 of the terms as the papers write them.
include("../setup/known_clients.jl")
include("../setup/erased.jl")
include("../setup/allocations.jl")
using FedFlux: Ends, LayerEngine, ZygoteEngine, teach!

softmax(z) = exp.(z .- maximum(z)) ./ sum(exp.(z .- maximum(z)))
cosine(a, b) = sum(a .* b) / sqrt(sum(abs2, a) * sum(abs2, b))

# The terms as the papers write them: the mean over the samples, each with its logits z,
# its features h, and those of the frozen models.
function term_of(r::FedNTD, z, h, label, known)
    others = [1:label; (label+2):length(z)]
    p, q = softmax(z[others] ./ r.tau), softmax(known[1].z[others] ./ r.tau)
    return r.beta * r.tau^2 * sum(q .* log.(q ./ p))
end
function term_of(r::MOON, z, h, label, known)
    a, b = exp(cosine(h, known[1].h) / r.tau), exp(cosine(h, known[2].h) / r.tau)
    return -r.mu * log(a / (a + b))
end

"The gradient of `f` at `a`, by central differences."
nudge(a, i, ε) = (b = copy(a); b[i] += ε; b)
slopes(f, a) =
    [(f(nudge(a, i, 1e-5)) - f(nudge(a, i, -1e-5))) / 2e-5 for i in eachindex(a)]

column(b, j) = (; z = Float64.(b.z[:, j]), h = Float64.(b.h[:, j]))

@testset "$rule: the term, and its gradient by finite differences" for rule in
                                                                       (
    FedNTD(beta = 0.7, tau = 2),
    FedNTD(),
    MOON(mu = 2, tau = 0.5),
    MOON()
)
    rng, n = Xoshiro(3), 5
    ends() = Ends(randn(rng, Float32, 4, n), zeros(Float32, 4, n),
        randn(rng, Float32, 6, n), zeros(Float32, 6, n))
    student, known, labels = ends(), [ends(), ends()], [0, 3, 1, 1, 2]
    rule isa FedNTD && pop!(known)
    term = teach!(rule, nothing, student, known, labels, nothing)
    exact(z, h) =
        sum(term_of(rule, z[:, j], h[:, j], labels[j], column.(known, j))
            for j = 1:n) / n
    z, h = Float64.(student.z), Float64.(student.h)
    @test term ≈ exact(z, h) rtol = 1e-5
    @test vec(student.dz) ≈ slopes(z -> exact(z, h), z) atol = 1e-5
    @test vec(student.dh) ≈ slopes(h -> exact(z, h), h) atol = 1e-5
end

# A whole client's round: full batches of a small network, in Float64.
const NET = mlp(6, 3; hidden = (5,), rng = Stream(1, :init))
const X, Y = blobs(60)
forward(w, x) =
    let h = max.(reshape(w[1:30], 5, 6) * x .+ w[31:35], 0)
        (; z = reshape(w[36:50], 3, 5) * h .+ w[51:53], h)
    end
function objective(rule, w, x, y, models)
    out, known = forward(w, x), map(m -> forward(m, x), models)
    return mean(eachindex(y)) do j
        z = out.z[:, j]
        at(b) = (; z = b.z[:, j], h = b.h[:, j])
        log(sum(exp.(z))) - z[y[j]+1] +
        term_of(rule, z, out.h[:, j], y[j], map(at, known))
    end
end

@testset "$(name_of(rule)) follows its equations, on $trainer" for rule in
                                                                   (
        FedNTD(beta = 0.7, tau = 2),
        MOON(mu = 2)
    ),
    trainer in (:zygote, :fast)

    parts = [1:20, 21:60]
    f = Federated(NET; batchsize = 60, epochs = 3, optimizer = Descent(0.2), trainer,
        rules = (erased(rule),))
    st = ended(f, Clients(X, Y, parts); rounds = 3, clients_per_round = 2)
    θ = Float64.(FedFlux.flatten(NET))
    old = [θ, θ]
    for round = 1:3
        models = map(1:2) do k
            x, y, w = Float64.(X[:, parts[k]]), Y[parts[k]], θ
            known = rule isa MOON ? (θ, round == 1 ? θ : old[k]) : (θ,)
            for _ = 1:3
                w = w - 0.2 * slopes(w -> objective(rule, w, x, y, known), w)
            end
            w
        end
        old, θ = models, (20 .* models[1] .+ 40 .* models[2]) ./ 60
    end
    @test st.θ ≈ θ rtol = 1e-4
    plain = Federated(NET; batchsize = 60, epochs = 3, optimizer = Descent(0.2), trainer)
    @test distance(
        st.θ,
        ended(plain, Clients(X, Y, parts); rounds = 3,
            clients_per_round = 2).θ
    ) > 1e-3
end

@testset "FedProto follows its equations, on $trainer" for trainer in (:zygote, :fast)
    parts, λ = [findall(Y .!= 2)[1:20], findall(Y .!= 0)[1:25]], 0.7
    f = Federated(NET; batchsize = 60, epochs = 3, optimizer = Descent(0.2), trainer,
        rules = (erased(FedProto(lam = λ)),))
    st = ended(f, Clients(X, Y, parts); rounds = 3, clients_per_round = 2)
    θ = Float64.(FedFlux.flatten(NET))
    @test st.θ ≈ θ
    models, C = [θ, θ], Dict{Int,Vector{Float64}}()
    for round = 1:3
        sums, counts = Dict(c => zeros(5) for c = 0:2), Dict(c => 0 for c = 0:2)
        for k = 1:2
            x, y, w = Float64.(X[:, parts[k]]), Y[parts[k]], models[k]
            pull(h) = mean(j -> haskey(C, y[j]) ? λ * mean(abs2, h[:, j] - C[y[j]]) : 0.0,
                eachindex(y))
            cross(z) = mean(j -> log(sum(exp.(z[:, j]))) - z[y[j]+1, j], eachindex(y))
            for epoch = 1:3
                h = forward(w, x).h
                for j in eachindex(y)
                    epoch == 3 && (sums[y[j]] += h[:, j]; counts[y[j]] += 1)
                end
                total(out) = cross(out.z) + pull(out.h)
                w = w - 0.2 * slopes(w -> total(forward(w, x)), w)
            end
            models[k] = w
        end
        foreach(c -> C[c] = sums[c] / counts[c], 0:2)
    end
    for k = 1:2
        @test st.private[k][1].w ≈ models[k] rtol = 1e-4
    end
    @test st.shared[1].means ≈ [C[0]; C[1]; C[2]] rtol = 1e-4
end

@testset "without weight they are FedAvg, on $trainer" for trainer in (:zygote, :fast)
    after(rules...) = ended(Federated(NET; batchsize = 7, trainer, rules),
        Clients(X, Y, [1:20, 21:60]); rounds = 2, clients_per_round = 2).θ
    @test after(FedNTD(beta = 0)) ≈ after() rtol = 1e-6
    @test after(MOON(mu = 0)) ≈ after() rtol = 1e-6
    # FedProto sends 15 features and 3 counts, and FedAvg the 53 parameters.
    proto = Federated(NET; batchsize = 7, trainer, rules = (FedProto(),))
    pool = WorkerPool(proto, X)
    _, history, _ = fit!(proto, State(proto, pool), Clients(X, Y, [1:20, 21:60]);
        rounds = 2, pool)
    @test history[2].bytes_up == 2 * 4 * 18
end

@testset "the end of a model with convolutions and BatchNorm" begin
    net = Chain(Conv((3, 3), 1 => 2, relu), BatchNorm(2), MaxPool((2, 2)), Flux.flatten,
        Dense(8 => 3))
    x, θ = randn(Xoshiro(1), Float32, 6, 6, 1, 4), FedFlux.flatten(net)
    fast, slow = LayerEngine(net, CrossEntropy(), (6, 6, 1), 4), ZygoteEngine(net,
        CrossEntropy())
    w = FedFlux.to_engine!(similar(θ), fast, θ)
    a, b =
        FedFlux.ends!(Ends(fast, 4), fast, w, x), FedFlux.ends!(Ends(slow, 4), slow, θ, x)
    @test a.z ≈ b.z && a.z ≈ net(x)
    @test sort(a.h; dims = 1) ≈ sort(b.h; dims = 1)        # channels first in one
end

@testset "a step that is taught allocates nothing: $(name_of(rule))" for rule in
                                                                         (FedNTD(), MOON())
    @test allocated_in_steps(rule, mlp(6, 3; hidden = (5,))) < 2000
end

@testset "what can't be taught is refused" begin
    @test occursin("needs a model that ends with",
        message(() -> Federated(Chain(Dense(6 => 3), relu); rules = (FedNTD(),))))
    @test occursin("expected a model with parameters before it",
        message(() -> Federated(softmax_regression(6, 3); rules = (MOON(),))))
    f = Federated(NET; loss = MSE(), rules = (MOON(),))
    @test occursin("needs one integer label",
        message(
            () -> ended(f, Clients(X, rand(Float32, 3, 60), [1:60]); rounds = 1,
                clients_per_round = 1)
        ))
end

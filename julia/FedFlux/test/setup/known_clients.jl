# Quadratic clients Fₖ(w) = ½ Σ a (w − b)² whose sizes, weights and participation
# differ, for the papers' equations in Float64.
using FedFlux: draw_cohort, PoissonSampling, WorkerPool

distance(θ, w) = sqrt(sum(abs2, θ .- w))

"Quadratic clients of these sizes, and the optima for weights by samples and uniform ones."
function sized_clients(d, sizes; rng = Xoshiro(1))
    one, uniform = quadratic_clients(d, length(sizes); rng)
    owner = reduce(vcat, fill(k, n) for (k, n) in enumerate(sizes))
    stops = cumsum(sizes)
    parts = [(stop-n+1):stop for (stop, n) in zip(stops, sizes)]
    clients = Clients(one.x[:, owner], zeros(Float32, length(owner)), parts)
    a, b = one.x[1:d, :], one.x[(d+1):end, :]
    samples = vec(sum(a .* b .* sizes'; dims = 2) ./ sum(a .* sizes'; dims = 2))
    return clients, (; samples, uniform)
end

"The state of a federation after some rounds."
function ended(f, clients; kw...)
    pool = WorkerPool(f, clients.x; threads = 1)
    st = State(f, pool)
    fit!(f, st, clients; pool, warn = Returns(nothing), kw...)
    return st
end

const UNEQUAL, EQUAL = [1, 2, 5, 10, 30, 1, 2, 5], fill(3, 8)

const SAMPLINGS = ("all" => CohortSampling(8), "two" => CohortSampling(2),
    "Poisson" => CohortSampling(2; sampling = PoissonSampling()))
# The papers' equations in Float64, on clients Fₖ(w) = ½ Σ a (w − b)².

"The local steps of an optimizer, each on the gradient `gradient(w)`; the model after them."
function local_steps(::Descent, w, steps, gradient, η)
    for _ = 1:steps
        w = w - η * gradient(w)
    end
    return w
end

function local_steps(o::Momentum, w, steps, gradient, η)
    v = zero(w)
    for _ = 1:steps
        v = o.rho * v + η * gradient(w)
        w = w - v
    end
    return w
end

function local_steps(o::Adam, w, steps, gradient, η)
    β₁, β₂ = o.beta
    m, v = zero(w), zero(w)
    for t = 1:steps
        g = gradient(w)
        m, v = β₁ * m + (1 - β₁) * g, @. β₂ * v + (1 - β₂) * g^2
        w = @. w - η * (m / (1 - β₁^t)) / (sqrt(v / (1 - β₂^t)) + o.epsilon)
    end
    return w
end

"What the equations work on: the clients, their numbers of steps, their weights."
struct Known
    a::Matrix{Float64}
    b::Matrix{Float64}
    steps::Vector{Int}
    weights::Vector{Float64}
    η::Float64
    optimizer::Any
end
∇(q::Known, k, w) = q.a[:, k] .* (w .- q.b[:, k])
loss(q::Known, k, w) = sum(q.a[:, k] .* (w .- q.b[:, k]) .^ 2) / 2
nclients(q::Known) = length(q.weights)
train(q::Known, k, θ, gradient) =
    local_steps(q.optimizer, θ, q.steps[k], gradient, q.η) - θ
weighted(q::Known, S, f) =
    sum(q.weights[k] * f(k) for k in S) / sum(q.weights[k] for k in S)
share(q::Known, S) = sum(q.weights[S]) / sum(q.weights)
zeros_for(q::Known) = [zeros(size(q.a, 1)) for _ = 1:nclients(q)]

const PLAIN, MOMENTUM, ADAM = Descent(0.05f0), Momentum(0.02f0, 0.5f0), Adam(0.05f0)

"A federation of these clients, and its equations."
function known_federation(clients, sizes, rule, weights, optimizer; epochs = 2, kw...)
    f = Federated(Point(zeros(Float32, 3)); loss = mean_of_outputs, batchsize = 4, weights,
        epochs = rule isa FedSGD ? 1 : epochs, optimizer, seed = 5,
        rules = rule === nothing ? () : (rule,), kw...)
    firsts = cumsum([1; sizes[1:(end-1)]])
    data = Float64.(clients.x[:, firsts])
    q = Known(data[1:3, :], data[4:6, :], f.train.epochs .* cld.(sizes, 4),
        weights === :samples ? sizes : ones(length(sizes)), Float64(optimizer.eta),
        optimizer)
    return f, q
end

name_of(rule) = rule === nothing ? "FedAvg" : string(nameof(typeof(rule)))

# Two arrays: the first and the last layer.
struct TwoPoints{V}
    body::V
    head::V
end
Flux.@layer TwoPoints
(p::TwoPoints)(x) =
    sum(x[1:(end÷2), :] .* abs2.([p.body; p.head] .- x[(end÷2+1):end, :]); dims = 1) ./ 2

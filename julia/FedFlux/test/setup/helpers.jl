# What several test files need.

"The message of the FedFluxError that `f` throws; fails where it throws none."
function message(f)
    try
        f()
    catch err
        err isa FedFluxError && return err.message
        rethrow()
    end
    return "no error was thrown"
end

# A client whose loss is ½ Σ a (w − b)², as a Flux model: its optimum, and that of any sum
# of such clients, is known.
struct Point{V}
    w::V
end
Flux.@layer Point
(p::Point)(x) = sum(x[1:(end÷2), :] .* abs2.(p.w .- x[(end÷2+1):end, :]); dims = 1) ./ 2
mean_of_outputs(ŷ, y) = mean(ŷ)

"""
Quadratic clients of dimension `d` with different curvatures and optima, and the optimum of
their sum.
"""
function quadratic_clients(d, n; rng = Xoshiro(1))
    a = 0.5f0 .+ 2 .* rand(rng, Float32, d, n)
    b = 3 .* randn(rng, Float32, d, n)
    clients = Clients(vcat(a, b), zeros(Float32, n), [k:k for k = 1:n])
    return clients, vec(sum(a .* b; dims = 2) ./ sum(a; dims = 2))
end

"Rounds on quadratic clients; gives the parameters at the end and the state."
function fit_quadratic(clients, d; rounds = 200, clients_per_round = length(clients), kw...)
    f = Federated(Point(zeros(Float32, d)); loss = mean_of_outputs, batchsize = 1, kw...)
    pool = FedFlux.WorkerPool(f, clients.x)
    st = State(f, FedFlux.engine(pool))
    fit!(f, st, clients; rounds, clients_per_round, pool)
    return st.θ, st
end

"""
A small labeled data set that a linear model can learn: (x, y) with `features` features and
`classes` classes.
"""
function blobs(n; features = 6, classes = 3, rng = Xoshiro(7))
    centers = 2 .* randn(rng, Float32, features, classes)
    y = rand(rng, 0:(classes-1), n)
    return centers[:, y .+ 1] .+ randn(rng, Float32, features, n), y
end

"θ after rounds whose numbers are `parts`, each part resumed from the last's checkpoint."
function in_parts(f, clients, sampling, parts; threads = 1, folder = nothing)
    pool = FedFlux.WorkerPool(f, clients; threads)
    st, progress = State(f, pool), FedFlux.Progress()
    checkpoints = folder === nothing ? nothing : Checkpoints(folder)
    for (i, rounds) in enumerate(parts)
        if i > 1
            saved = FedFlux.load_checkpoint(folder)
            st, progress = FedFlux.restore(saved, f, FedFlux.engine(pool))
        end
        fit!(f, st, clients; rounds, pool, progress, sampling, checkpoints,
            warn = Returns(nothing))
    end
    return st.θ
end

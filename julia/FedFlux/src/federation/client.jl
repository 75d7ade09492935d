# One client's training: local steps of the optimiser on its own share.

"How a client trains: an Optimisers rule, passes over the data, steps at the most, samples a step, samples a pass at the most."
struct LocalTraining{O<:Optimisers.AbstractRule}
    optimizer::O
    epochs::Int
    maxsteps::Int
    batchsize::Int
    samples::Int
end

LocalTraining(optimizer; epochs = 1, maxsteps = typemax(Int), batchsize = 32, samples = typemax(Int)) =
    LocalTraining(optimizer, epochs, maxsteps, batchsize, samples)

"The number of gradient steps that `n` samples get."
nsteps(t::LocalTraining, n) = min(t.maxsteps, t.epochs * cld(min(n, t.samples), t.batchsize))

learning_rate(rule) = hasproperty(rule, :eta) ? Float32(rule.eta) : 1.0f0

"What one task needs to train clients one after another: an engine, the parameters, the gradient, the order of samples, statistics,
and an [`Augmenter`](@ref) or `nothing`."
struct Worker{E<:Engine,A}
    engine::E
    w::Vector{Float32}
    g::Vector{Float32}
    order::Vector{Int}
    stats::Vector{Float32}
    augmenter::A
end

Worker(engine::Engine, augmenter = nothing) =
    (n = nparams(engine); Worker(engine, zeros(Float32, n), zeros(Float32, n), Int[], zeros(Float32, nstats(engine)), augmenter))

"Asks workers to end at their next step; and lets the scheduler breathe, so that a run on one thread can be interrupted."
mutable struct Control
    @atomic stop::Bool
    @atomic breathed::UInt64
end
Control() = Control(false, time_ns())

const BREATH_NS = UInt64(50_000_000)

function stopping(c::Control)
    now = time_ns()
    if now - (@atomic c.breathed) > BREATH_NS
        @atomic c.breathed = now
        yield()
    end
    return @atomic c.stop
end

"""
    localfit!(worker, rules, s, x, y, t::LocalTraining, rng, ctx, control) -> (loss, samples)

Train `worker.w` on the samples `worker.order` of `x, y`: before every epoch the order is shuffled by `rng`, batches are
consecutive among its first `t.samples`, the last may be short. `rules` correct each gradient with their states `s`. Returns the sum of the samples'
losses as they were seen, and their number.
"""
function localfit!(worker::Worker, rules, s, x, y, t::LocalTraining, rng, ctx, control)
    (; engine, w, g, order) = worker
    state = Optimisers.init(t.optimizer, w)
    total, seen, step = 0.0, 0, 0
    while step < ctx.steps
        shuffle!(rng, order)
        n = min(length(order), t.samples)
        for first in 1:t.batchsize:n
            idx = view(order, first:min(first + t.batchsize - 1, n))
            xb, yb = training_batch(worker.augmenter, engine, x, y, idx)
            loss = valgrad!(engine, g, w, xb, yb)
            step += 1
            correct!(rules, s, g, w, (; ctx..., step, batch = length(idx)))
            state = step!(t.optimizer, state, w, g)
            total += Float64(loss) * length(idx)
            seen += length(idx)
            (step == ctx.steps || stopping(control)) && return total, seen
        end
    end
    return total, seen
end

"One step of an Optimisers rule on the flat `w`; returns the rule's new state."
function step!(rule::Optimisers.AbstractRule, state, w, g)
    state, dw = Optimisers.apply!(rule, state, w, g)
    w .-= dw
    return state
end

"""
    LocalData

A client's own data, as rules meet it in `receive!`: [`train!`](@ref) and [`meanloss`](@ref) work on it.
"""
struct LocalData{W<:Worker,X,Y,I,T<:LocalTraining,L}
    worker::W
    x::X
    y::Y
    indices::I
    training::T
    loss::L
    rng::Stream        # of the batches
    control::Control
end

# A function in a rule's place.
struct Correction{F} <: Rule
    f::F
end
correct!(c::Correction, s, g, w, ctx) = c.f(g, w)

"""
    train!(f, own::LocalData, m; epochs = own.training.epochs) -> m

Train the model `m = (; w, stats)`, in place, on the client's own data, by its local training but beside it: with batches of its
own, and `f(g, w)` in the rules' place to correct each gradient `g` at `w`.
"""
function train!(f, own::LocalData, m; epochs = own.training.epochs)
    (; engine, g) = own.worker
    t = LocalTraining(own.training.optimizer; epochs, own.training.maxsteps, own.training.batchsize, own.training.samples)
    worker = Worker(engine, m.w, g, collect(own.indices), m.stats, own.worker.augmenter)
    setstats!(engine, m.stats)
    ctx = (; steps = nsteps(t, length(worker.order)))
    localfit!(worker, (Correction(f),), (; shared = (nothing,), private = (nothing,)), own.x, own.y, t, own.rng, ctx, own.control)
    stats!(m.stats, engine)
    return m
end

"""
    meanloss(own::LocalData, m) -> Float64

The mean loss of the model `m = (; w, stats)` over the client's own samples, in test mode.
"""
function meanloss(own::LocalData, m)
    (; engine) = own.worker
    setstats!(engine, m.stats)
    return sumloss((ŷ, labels) -> nothing, engine, own.loss, m.w, own.x, own.y, own.indices) / length(own.indices)
end

"What a client sends, and what stays with it."
struct Trained{U,P}
    client::Int
    update::U
    private::P
    loss::Float64     # sum over the samples seen
    seen::Int
    received::Int     # bytes
end

"""
    train_client!(worker, buffer, f, st, clients, k, private, n, control) -> Trained

Client `k`'s part of a round: take the global model, train on its own share, apply the rules, and put the update into
`buffer`, `(; delta)` or `(; delta, stats)`. `private` is its rules' state, `n` the cohort's size.
"""
function train_client!(worker, buffer, f, st, clients, k, private, n, control)
    (; engine, w, order, stats) = worker
    copyto!(w, st.θ)
    copyto!(stats, st.stats)
    round = st.round + 1
    copyto!(resize!(order, nsamples(clients, k)), indices(clients, k))
    training = at_round(f, round)
    ctx = (; θ = st.θ, round, client = k, n, N = length(clients), lr = learning_rate(training.optimizer), training.optimizer,
           steps = nsteps(training, length(order)), rng = Stream(f.seed, :rules, round, k), samples = length(order),
           weight = weight(f, clients, k), layout = f.layout, w, stats)
    s = (; st.shared, private)
    bytes = sizeof(st.stats) + received(f.rules, s, sizeof(st.θ), ctx)
    own = LocalData(worker, clients.x, clients.y, indices(clients, k), training, f.loss, Stream(f.seed, :personal, round, k), control)
    reseed!(engine, Stream(f.seed, :dropout, round, k))
    reseed!(worker.augmenter, Stream(f.seed, :augment, round, k))
    s = (; st.shared, private = receive!(f.rules, s, (; w, stats), ctx, own))
    reseed!(engine, Stream(f.seed, :dropout, round, k))     # whatever a rule trained, the rest is the same
    reseed!(worker.augmenter, Stream(f.seed, :augment, round, k))
    setstats!(engine, stats)
    loss, seen = localfit!(worker, f.rules, s, clients.x, clients.y, training, Stream(f.seed, :batches, round, k), ctx, control)
    stats!(stats, engine)
    @. buffer.delta = w - st.θ
    haskey(buffer, :stats) && (@. buffer.stats = stats - st.stats)
    private, update = client!(f.rules, s, buffer, ctx)
    return Trained(k, update, private, loss, seen, bytes)
end

"The local training of a round, with the learning rate that the schedule gives it."
at_round(f, round) = LocalTraining(scheduled(f.train.optimizer, f.schedule, round), f.train.epochs, f.train.maxsteps, f.train.batchsize,
                                   f.train.samples)

"A client's weight in the average."
weight(f, clients, k) = f.weights === :samples ? nsamples(clients, k) : 1

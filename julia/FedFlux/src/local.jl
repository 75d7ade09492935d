# One client's training: local steps of the optimiser on its own share.

"How a client trains: an Optimisers rule, passes over the data, steps at the most, samples a step."
struct LocalTraining{O<:Optimisers.AbstractRule}
    optimizer::O
    epochs::Int
    maxsteps::Int
    batchsize::Int
end

LocalTraining(optimizer; epochs = 1, maxsteps = typemax(Int), batchsize = 32) = LocalTraining(optimizer, epochs, maxsteps, batchsize)

"The number of gradient steps that `n` samples get."
nsteps(t::LocalTraining, n) = min(t.maxsteps, t.epochs * cld(n, t.batchsize))

learning_rate(rule) = hasproperty(rule, :eta) ? Float32(rule.eta) : 1.0f0

"What one task needs to train clients one after another: an engine, the parameters, the gradient, the order of samples."
struct Worker{E<:Engine}
    engine::E
    w::Vector{Float32}
    g::Vector{Float32}
    order::Vector{Int}
end

Worker(engine::Engine) = (n = nparams(engine); Worker(engine, zeros(Float32, n), zeros(Float32, n), Int[]))

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
consecutive, the last may be short. `rules` correct each gradient with their states `s`. Returns the sum of the samples'
losses as they were seen, and their number.
"""
function localfit!(worker::Worker, rules, s, x, y, t::LocalTraining, rng, ctx, control)
    (; engine, w, g, order) = worker
    state = Optimisers.init(t.optimizer, w)
    total, seen, step = 0.0, 0, 0
    while step < ctx.steps
        shuffle!(rng, order)
        for first in 1:t.batchsize:length(order)
            idx = view(order, first:min(first + t.batchsize - 1, length(order)))
            xb, yb = batch(engine, x, y, idx)
            loss = valgrad!(engine, g, w, xb, yb)
            correct!(rules, s, g, w, ctx)
            state = step!(t.optimizer, state, w, g)
            total += Float64(loss) * length(idx)
            seen += length(idx)
            step += 1
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
    (; engine, w, order) = worker
    copyto!(w, st.θ)
    setstats!(engine, st.stats)
    round = st.round + 1
    reseed!(engine, Stream(f.seed, :dropout, round, k))
    copyto!(resize!(order, nsamples(clients, k)), indices(clients, k))
    ctx = (; θ = st.θ, round, client = k, n, N = length(clients), lr = learning_rate(f.train.optimizer),
           steps = nsteps(f.train, length(order)), rng = Stream(f.seed, :rules, round, k), samples = length(order), layout = f.layout)
    s = (; st.shared, private)
    bytes = sizeof(st.stats) + received(f.rules, s, sizeof(st.θ), ctx)
    loss, seen = localfit!(worker, f.rules, s, clients.x, clients.y, f.train, Stream(f.seed, :batches, round, k), ctx, control)
    @. buffer.delta = w - st.θ
    haskey(buffer, :stats) && (stats!(buffer.stats, engine); buffer.stats .-= st.stats)
    private, update = client!(f.rules, s, buffer, ctx)
    return Trained(k, update, private, loss, seen, bytes)
end

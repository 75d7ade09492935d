# Local training: the steps of an optimizer on one client's share.

"""
    LocalTraining(; optimizer = Descent(0.05), epochs = 1, maxsteps = typemax(Int),
                  batchsize = 32, samples_per_epoch = typemax(Int), schedule = (),
                  augment = ())
    LocalTraining(t; changes...)

How a client trains in a round. The second form copies `t` with some settings changed.

- `optimizer`: an Optimisers rule, started anew each round, unless the rules have
  [`KeepOptimizer`](@ref).
- `epochs`: passes over the client's samples.  `maxsteps`: maximum number of gradient steps.
- `batchsize`: samples per step; the last batch of an epoch may be smaller.
- `samples_per_epoch`: maximum number of samples per epoch, drawn anew each time.
- `schedule`: factors of the learning rate, a tuple of functions of the round.
- `augment`: a tuple of [`Augmentation`](@ref)s, applied in order.

Throws a [`FedFluxError`](@ref) for a number that is not positive.
"""
struct LocalTraining{O<:Optimisers.AbstractRule,S<:Tuple,A<:Tuple}
    optimizer::O
    epochs::Int
    maxsteps::Int
    batchsize::Int
    samples_per_epoch::Int
    schedule::S
    augment::A
end

function LocalTraining(t::LocalTraining = FEDAVG_TRAINING; optimizer = t.optimizer,
    epochs = t.epochs, maxsteps = t.maxsteps, batchsize = t.batchsize,
    samples_per_epoch = t.samples_per_epoch, schedule = t.schedule,
    augment = t.augment)
    counts = (; epochs, maxsteps, batchsize, samples_per_epoch)
    all(>=(1), counts) ||
        fail("local training: ", join(("$name is $n" for (name, n) in pairs(counts)), ", "),
            "; expected positive numbers")
    return LocalTraining(optimizer, Int.(values(counts))..., Tuple(schedule),
        Tuple(augment))
end

const FEDAVG_TRAINING = LocalTraining(Optimisers.Descent(0.05f0), 1, typemax(Int), 32,
    typemax(Int), (), ())

"The number of gradient steps for `n` samples."
nsteps(t::LocalTraining, n) =
    min(t.maxsteps, t.epochs * cld(min(n, t.samples_per_epoch), t.batchsize))

"The training of a round: its optimizer has the learning rate that the schedule gives."
at_round(t::LocalTraining, round) =
    LocalTraining(t; optimizer = scheduled(t.optimizer, t.schedule, round))

"""
What one task needs to train clients one after another: an engine, the parameters, the
gradient, the order of the samples, the statistics, the parameters that a client starts
from, and an [`Augmenter`](@ref) or `nothing`.
"""
struct Worker{E<:Engine,A}
    engine::E
    w::Vector{Float32}
    g::Vector{Float32}
    order::Vector{Int}
    stats::Vector{Float32}
    start::Vector{Float32}
    augmenter::A
end

function Worker(engine::Engine, augmenter = nothing)
    n = nparams(engine)
    return Worker(engine, zeros32(n), zeros32(n), Int[], zeros32(nstats(engine)),
        zeros32(n), augmenter)
end

"""
Start the generators of dropout and augmentation for client `k` in a round (0: the server).
"""
function reseed!(worker::Worker, seed, round, k)
    reseed!(worker.engine, Stream(seed, :dropout, round, k))
    reseed!(worker.augmenter, Stream(seed, :augment, round, k))
end

"Let the worker train on these samples, in this order."
set_samples!(worker::Worker, indices) =
    copyto!(resize!(worker.order, length(indices)), indices)

"""
    localfit!(worker, rules, s, x, y, t::LocalTraining, rng, ctx, control,
              state = Optimisers.init(t.optimizer, worker.w)) -> (loss, samples, state)

Train `worker.w` on the samples `worker.order` of `x, y`. Before each epoch the order is
shuffled by `rng`; batches are consecutive among its first `t.samples_per_epoch`. `rules`
correct each gradient with their states `s`. `state` is the optimizer's, and may be changed.
Returns the sum of the losses of the samples at the time they were seen, their number, and
the optimizer's state at the end.

[`DPSGD`](@ref) among the rules draws other batches, and has steps of its own.
"""
localfit!(worker::Worker, rules, s, x, y, t::LocalTraining, rng, ctx, control,
    state = Optimisers.init(t.optimizer, worker.w)) =
    local_steps!(example_privacy(rules), worker, rules, s, x, y, t, rng, ctx, control,
        state)

function local_steps!(::Nothing, worker, rules, s, x, y, t, rng, ctx, control, state)
    (; engine, w, g, order) = worker
    total, seen, step = 0.0, 0, 0
    kept = zeros32(nstats(engine))
    taught = lesson(rules, s, engine, t, y, ctx)
    while step < ctx.steps
        shuffle!(rng, order)
        n = min(length(order), t.samples_per_epoch)
        for first = 1:t.batchsize:n
            idx = view(order, first:min(first+t.batchsize-1, n))
            xb, yb = training_batch(worker.augmenter, engine, x, y, idx)
            loss = lesson_gradient!(taught, engine, g, w, xb, yb, view(y, idx))
            step += 1
            regrad! = Regrad(engine, xb, yb, kept)
            correct!(rules, s, g, w, (; ctx..., step, batch = length(idx), regrad!))
            state = step!(t.optimizer, state, w, g)
            total += Float64(loss) * length(idx)
            seen += length(idx)
            (step == ctx.steps || should_stop(control)) && return total, seen, state
        end
    end
    return total, seen, state
end

"""
    ctx.regrad!(g, w) -> loss

The gradient of the step's own batch at another point `w`, into `g`, for a rule's
`correct!`. Statistics stay those of the step's first pass; dropout draws anew.
"""
struct Regrad{E<:Engine,X,Y}
    engine::E
    x::X
    y::Y
    stats::Vector{Float32}     # where the engine's are kept meanwhile
end

function (r::Regrad)(g, w)
    stats!(r.stats, r.engine)
    loss = valgrad!(r.engine, g, w, r.x, r.y)
    setstats!(r.engine, r.stats)
    return loss
end

"Local training without rules."
localfit!(worker::Worker, x, y, t::LocalTraining, rng, ctx, control) =
    localfit!(worker, (), (; shared = (), private = ()), x, y, t, rng, ctx, control)

"""
Train the worker's model, parameters and statistics, on these samples of the clients' data,
without rules. `rng` draws the batches; other draws are those of client `k` (0: the server).
"""
function train_alone!(worker::Worker, f, clients, samples, t, rng, round, k, control)
    (; engine, order, stats) = worker
    set_samples!(worker, samples)
    reseed!(worker, f.seed, round, k)
    setstats!(engine, stats)
    ctx = (; steps = nsteps(t, length(order)))
    localfit!(worker, clients.x, clients.y, t, rng, ctx, control)
    stats!(stats, engine)
    return worker
end

"One step of an Optimisers rule on the flat `w`; returns the rule's new state."
function step!(rule::Optimisers.AbstractRule, state, w, g)
    state, dw = Optimisers.apply!(rule, state, w, g)
    w .-= dw
    return state
end

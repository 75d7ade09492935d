# A client's part of a round: download the model, train on its own share, send the update.

"What a client sends, what stays with it, and what it downloaded."
struct Trained{U<:Update,P}
    client::Int
    update::U
    private::P
    loss::Float64     # sum over the samples seen
    seen::Int
    downloaded::Int   # bytes
end

"""
    train_client!(worker, buffer, f, st, clients, k, private, n, control,
                  current_stats = st.stats) -> Trained

Client `k`'s part of a round: take the global model of `st`, train on its own share, apply
the rules, and put the update into `buffer`, an [`Update`](@ref). `private` is the state of
its rules, `n` the size of the cohort. Statistics are sent as the difference from
`current_stats`, those that the server will add it to.
"""
function train_client!(worker, buffer, f, st, clients, k, private, n, control,
    current_stats = st.stats)
    (; engine, w, order, stats, start) = worker
    (; x, y) = clients
    round = st.round + 1
    training = at_round(f.train, round)
    copyto!(w, st.θ)
    copyto!(stats, st.stats)
    set_samples!(worker, indices(clients, k))
    ctx =
        (; client_context(f, st, clients, k, n)..., lr = learning_rate(training.optimizer),
            training.optimizer, steps = nsteps(training, length(order)), w, stats)
    s = (; st.shared, private)
    ctx = (; ctx..., steps = local_steps(f.rules, s, ctx.steps, ctx))
    downloaded = downloaded_bytes(f, st, s, ctx)
    own = LocalData(worker, x, y, indices(clients, k), training, f.loss,
        Stream(f.seed, :personal, round, k), control)
    reseed!(worker, f.seed, round, k)
    s = (; st.shared, private = receive!(f.rules, s, (; w, stats), ctx, own))
    ctx = (; ctx..., θ = copyto!(start, w))
    reseed!(worker, f.seed, round, k)     # whatever a rule trained, the rest is the same
    setstats!(engine, stats)
    loss, seen, optimizer_state = localfit!(worker, f.rules, s, x, y, training,
        Stream(f.seed, :batches, round, k), ctx, control,
        first_state(f.rules, private, training.optimizer, w))
    ctx = (; ctx..., optimizer_state)
    stats!(stats, engine)
    @. buffer.delta = w - start
    @. buffer.stats = stats - current_stats
    private, update = client!(f.rules, s, buffer, ctx)
    private = sent(f.rules, s, private, update, ctx)
    return Trained(k, update, private, loss, seen, downloaded)
end

"A client's training, or the exception that it threw; interrupts and lack of memory pass."
function attempt!(worker::Worker, args...)
    try
        return train_client!(worker, args...)
    catch err
        err isa Union{InterruptException,OutOfMemoryError} && rethrow()
        return err
    end
end

"What a worker writes a client's update into."
buffer_of(::Worker, st::State) = Update(; delta = similar(st.θ), stats = similar(st.stats))

"What rules meet in `ctx` on client `k`, apart from its training."
client_context(f, st, clients, k, n) =
    (; st.θ, round = st.round + 1, client = k, n, N = length(clients),
        rng = Stream(f.seed, :rules, st.round + 1, k), samples = nsamples(clients, k),
        weight = weight(f, clients, k), f.layout)

"The bytes that a client with the states `s` downloads at the start of a round."
downloaded_bytes(f, st, s, ctx) =
    sizeof(st.stats) + download_bytes(f.rules, s, sizeof(st.θ), ctx)

"A client's weight in the average."
weight(f, clients, k) = f.weights === :samples ? nsamples(clients, k) : 1

"""
    LocalData

A client's own data, as a rule's `receive!` meets it: [`train!`](@ref),
[`meanloss`](@ref), [`full_gradient!`](@ref) and [`label_counts`](@ref) work on it.
"""
struct LocalData{W<:Worker,I}
    worker::W
    x::AbstractArray
    y::AbstractArray
    indices::I
    training::LocalTraining
    loss::Any
    rng::Stream        # of the batches
    control::Control
end

# A function in the place of the rules.
struct Correction{F} <: Rule
    f::F
end
correct!(c::Correction, s, g, w, ctx) = c.f(g, w)

function train!(f, own::LocalData, m; epochs = own.training.epochs,
    maxsteps = own.training.maxsteps)
    (; engine, g, start, augmenter) = own.worker
    t = LocalTraining(own.training; epochs, maxsteps)
    worker = Worker(engine, m.w, g, collect(own.indices), m.stats, start, augmenter)
    setstats!(engine, m.stats)
    ctx = (; steps = nsteps(t, length(worker.order)))
    stateless = (; shared = (nothing,), private = (nothing,))
    localfit!(worker, (Correction(f),), stateless, own.x, own.y, t, own.rng, ctx,
        own.control)
    stats!(m.stats, engine)
    return m
end

function meanloss(own::LocalData, m)
    (; worker, loss, x, y, indices) = own
    setstats!(worker.engine, m.stats)
    total = sumloss(Returns(nothing), worker.engine, loss, m.w, x, y, indices)
    return total / length(indices)
end

function full_gradient!(g, own::LocalData, m)
    (; worker, x, y, indices, training) = own
    (; engine, augmenter) = worker
    part = worker.g
    setstats!(engine, m.stats)
    fill!(g, 0)
    for idx in Iterators.partition(indices, training.batchsize)
        xb, yb = training_batch(augmenter, engine, x, y, idx)
        valgrad!(engine, part, m.w, xb, yb)
        axpy!(Float32(length(idx) / length(indices)), part, g)
    end
    return g
end

function label_counts(own::LocalData, classes)
    own.loss isa CrossEntropy && eltype(own.y) <: Integer ||
        fail(
            "a rule counts labels, and needs cross-entropy on integer labels; the loss is ",
            own.loss, " on ", eltype(own.y))
    n = zeros(Int, classes)
    for i in own.indices, label in selectdim(own.y, ndims(own.y), i)
        n[label+1] += 1
    end
    return n
end

# The rounds: sample a cohort, train, aggregate, take the server's step.

"""
    round!(f, st, clients, cohort; crew = Crew(f, clients.x)) -> (st, metrics)

One round: each client of `cohort` trains on its own share from `st.θ`; their updates are added in cohort order as soon
as they are there; the server takes its step. Changes `st`. `metrics` is
`(; train_loss, clients, seconds_train, seconds_aggregate, bytes_up, bytes_down)`.

A round with an empty cohort changes nothing but the number of rounds; its `train_loss` is NaN. The result is the same for
any number of threads. At most two updates a thread are held at a time.

Throws a [`FedFluxError`](@ref) when the aggregate isn't finite; `st` is then as it was.
"""
function round!(f::Federated, st::State, clients::Clients, cohort; crew = Crew(f, clients.x))
    isempty(cohort) && return empty_round!(st)
    begun = time_ns()
    work = RoundWork(f, st, clients, cohort, length(crew.workers))
    in_parallel(i -> train_some!(work, crew.workers[i], crew.control), min(length(crew.workers), length(cohort)), crew.control, crew.tick)
    seconds = (time_ns() - begun) / 1e9
    finishing = time_ns()
    ū = finish(f.aggregate, work.acc)
    if ū !== nothing
        all(v -> all(isfinite, v), values(ū)) ||
            fail("round ", st.round + 1, ": the clients' average update is not finite; try a smaller learning rate (lr is ",
                 learning_rate(f.train.optimizer), ")")
        serverstep!(f, st, ū, length(cohort), length(clients), engine(crew))
    end
    merge!(st.private, work.private)
    st.round += 1
    adding = work.adding_ns / 1e9
    metrics = (; train_loss = work.loss / work.seen, clients = length(cohort), seconds_train = seconds - adding,
               seconds_aggregate = adding + (time_ns() - finishing) / 1e9, work.bytes_up, work.bytes_down)
    return st, metrics
end

function empty_round!(st)
    st.round += 1
    return st, (; train_loss = NaN, clients = 0, seconds_train = 0.0, seconds_aggregate = 0.0, bytes_up = 0, bytes_down = 0)
end

"A round under way: which client is next, and the trained ones that wait for their turn to be added."
mutable struct RoundWork{F,C,B}
    f::F
    st::State
    clients::C
    cohort::Vector{Int}
    next::Threads.Atomic{Int}      # position in the cohort of the next client to train
    buffers::Channel{B}            # two a thread: who holds one may train a client
    lock::ReentrantLock            # guards everything below
    waiting::Dict{Int,Any}         # position => (trained, buffer)
    added::Int
    acc::Any
    private::Dict{Int,Any}
    loss::Float64
    seen::Int
    bytes_up::Int
    bytes_down::Int
    adding_ns::UInt64
end

function RoundWork(f, st, clients, cohort, threads)
    new() = isempty(st.stats) ? (; delta = similar(st.θ)) : (; delta = similar(st.θ), stats = similar(st.stats))
    first_buffer = new()
    buffers = Channel{typeof(first_buffer)}(Inf)
    put!(buffers, first_buffer)
    foreach(_ -> put!(buffers, new()), 2:2threads)
    return RoundWork(f, st, clients, collect(Int, cohort), Threads.Atomic{Int}(1), buffers, ReentrantLock(), Dict{Int,Any}(), 0,
                     start(f.aggregate, st.θ, length(cohort)), Dict{Int,Any}(), 0.0, 0, 0, 0, UInt64(0))
end

# A worker takes a buffer before it takes a client, so the lowest client that isn't added yet always has one: no deadlock.
# One that stops or fails puts its buffer back, which wakes the next to see that it should stop.
function train_some!(work::RoundWork, worker, control)
    while true
        buffer = take!(work.buffers)
        i = Threads.atomic_add!(work.next, 1)
        try
            i <= length(work.cohort) && !(@atomic control.stop) || return put!(work.buffers, buffer)
            trained = train_next!(work, worker, buffer, work.cohort[i], control)
            (@atomic control.stop) && return put!(work.buffers, buffer)
            @lock work.lock begin
                work.waiting[i] = (trained, buffer)
                add_waiting!(work)
            end
        catch
            put!(work.buffers, buffer)
            rethrow()
        end
    end
end

function train_next!(work::RoundWork, worker, buffer, k, control)
    private = get(() -> private_init(work.f.rules, work.st.θ), work.st.private, k)
    return train_client!(worker, buffer, work.f, work.st, work.clients, k, private, length(work.cohort), control)
end

"Add every trained client whose turn has come, in cohort order."
function add_waiting!(work::RoundWork)
    begun = time_ns()
    while haskey(work.waiting, work.added + 1)
        trained, buffer = pop!(work.waiting, work.added + 1)
        work.added += 1
        work.acc = add!(work.f.aggregate, work.acc, work.added, map(decoded, trained.update), weight(work.f, work.clients, trained.client))
        isempty(work.f.rules) || (work.private[trained.client] = trained.private)
        work.loss += trained.loss
        work.seen += trained.seen
        work.bytes_up += sum(wiresize, values(trained.update))
        work.bytes_down += trained.received
        put!(work.buffers, buffer)
    end
    work.adding_ns += time_ns() - begun
end

"The server's part: the rules in reverse order, then the step on the global parameters, as the rules let it out."
function serverstep!(f::Federated, st::State, ū, n, N, engine)
    ctx = (; st.θ, round = st.round + 1, client = 0, n, N, lr = learning_rate(f.train.optimizer),
           rng = Stream(f.seed, :rules, st.round + 1, 0), f.layout, f.model, engine)
    st.shared, ū = server!(f.rules, (; st.shared), ū, ctx)
    if f.server === nothing
        Δ = ū.delta
    else
        st.server, step = Optimisers.apply!(f.server, st.server, st.θ, -ū.delta)
        Δ = .-step      # a lazy broadcast until here
    end
    st.shared, Δ = publish!(f.rules, (; st.shared), Δ, ctx)
    st.θ .+= decoded(Δ)
    haskey(ū, :stats) && (st.stats .+= ū.stats)
    return st
end

# The rounds: sample a cohort, train, aggregate, take the server's step.

"""
    round!(f, st, clients, cohort; crew = Crew(f, clients), wanted = length(cohort), root = nothing, begin_from = nothing)
        -> (st, metrics)

One round: each client of `cohort` trains on its own share from `st.θ`; their updates are added in cohort order as soon
as they are there; the server takes its step. Changes `st`. `metrics` is a NamedTuple of what a [`Record`](@ref) tells of it.

- `wanted`: updates that are waited for, where more clients are asked.
- `root`: indices of the samples that the server itself trains on, for an aggregator that asks for it.
- `begin_from`: for each client the state that it begins from, where it isn't `st` (asynchronous federation).

A client that fails, in simulation or with an exception in its rules or its loss, is lost; an update that no server should
take is rejected; the round goes on with the rest. With fewer updates than the aggregator or `min_updates` needs, or with an
aggregate that isn't finite, everything but the number of rounds stays as it was. Where every client throws, the first
exception is thrown here, and `st` is as it was.

The result is the same for any number of threads. At most two updates a thread are held at a time, but by aggregators that
need all at once.
"""
function round!(f::Federated, st::State, clients::Clients, cohort; crew = Crew(f, clients), wanted = length(cohort), root = nothing,
                begin_from = nothing)
    begun = time_ns()
    present, lost, simulated = muster(f.faults, f.seed, st.round + 1, cohort, wanted)
    work = RoundWork(f, st, clients, present, begin_from, length(crew.workers), guide(f, st, clients, root, crew))
    tasks = min(length(crew.workers), length(work.cohort))
    tasks == 0 || in_parallel(i -> train_some!(work, crew.workers[i], crew.control), tasks, crew.control, crew.tick)
    length(work.errors) == length(work.cohort) > 0 && throw(first(work.errors)[2])
    seconds = (time_ns() - begun) / 1e9
    finishing = time_ns()
    work.omniscient && add_forged!(work)
    skipped = server_part!(f, st, clients, work, crew)
    st.round += 1
    adding = work.adding_ns / 1e9
    append!(lost, ((; client = work.cohort[i], reason = failure_text(err)) for (i, err) in work.errors))
    metrics = (; train_loss = work.loss / work.seen, clients = work.accepted, seconds_train = seconds - adding,
               seconds_aggregate = adding + (time_ns() - finishing) / 1e9, work.bytes_up, work.bytes_down, work.rejected,
               lost = sort!(lost; by = l -> l.client), skipped, seconds_simulated = simulated)
    return st, metrics
end

"The server's part of a round; `nothing`, or why the round leaves all as it was."
function server_part!(f, st, clients, work, crew)
    needed = max(f.faults.min_updates, atleast(f.aggregate))
    isempty(work.rejected) || work.accepted > 0 || return "every update was rejected, the first since it $(first(work.rejected).reason)" *
        (any(r -> r.reason == NOT_FINITE, work.rejected) ? ": try a smaller learning rate (lr is $(learning_rate(f.train.optimizer)))" : "")
    work.accepted >= needed || return "$(work.accepted) updates came, and $needed are needed"
    ū = finish(f.aggregate, work.acc, length(crew.workers))
    ū === nothing && return "no update has a weight"
    all(allfinite, values(ū)) || return "the aggregate is not finite: try a smaller learning rate (lr is $(learning_rate(f.train.optimizer)))"
    st.aggregator = remember(f.aggregate, ū)
    serverstep!(f, st, ū, work.accepted, length(clients), engine(crew))
    merge!(st.private, work.private)
    return nothing
end

"What the aggregator is given before the updates: the server's own update, or what it kept from the round before."
function guide(f, st, clients, root, crew)
    trains_root(f.aggregate) || return st.aggregator
    root === nothing && return nothing
    worker = first(crew.workers)
    (; engine, w, order, stats) = worker
    copyto!(w, st.θ)
    setstats!(engine, st.stats)
    append!(empty!(order), root)
    reseed!(engine, Stream(f.seed, :dropout, st.round + 1, 0))
    ctx = (; st.θ, steps = nsteps(f.train, length(order)))
    localfit!(worker, (), (; shared = (), private = ()), clients.x, clients.y, f.train, Stream(f.seed, :batches, st.round + 1, 0), ctx, crew.control)
    return vcat(w .- st.θ, stats!(stats, engine) .- st.stats)
end

"A round under way: which client is next, and the trained ones that wait for their turn to be added."
mutable struct RoundWork{F,C,V,B}
    f::F
    st::State
    clients::C
    cohort::Vector{Int}
    begin_from::V                  # client => the state that it begins from; nothing: st
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
    door::Door
    accepted::Int
    rejected::Vector{Lost}
    errors::Vector{Tuple{Int,Any}}     # position => exception
    hostile::Set{Int}
    moments::Moments                   # of the honest updates, where attackers know them
    omniscient::Bool
end

function RoundWork(f, st, clients, cohort, begin_from, threads, given)
    new() = isempty(st.stats) ? (; delta = similar(st.θ)) : (; delta = similar(st.θ), stats = similar(st.stats))
    first_buffer = new()
    buffers = Channel{typeof(first_buffer)}(Inf)
    put!(buffers, first_buffer)
    foreach(_ -> put!(buffers, new()), 2:2threads)
    bad = Set(hostile(f.attack, f.seed, length(clients)))
    knows = f.attack !== nothing && omniscient(f.attack.attack)
    training = knows ? filter(!in(bad), cohort) : collect(Int, cohort)
    door = Door(st, cohort, f.weights === :samples ? length(clients.order) : 1)
    return RoundWork(f, st, clients, training, begin_from, Threads.Atomic{Int}(1), buffers, ReentrantLock(), Dict{Int,Any}(), 0,
                     start(f.aggregate, st.θ, length(cohort), given), Dict{Int,Any}(), 0.0, 0, 0, 0, UInt64(0), door, 0, Lost[],
                     Tuple{Int,Any}[], intersect(bad, cohort), Moments(), knows && !isdisjoint(bad, cohort))
end

# A worker takes a buffer before it takes a client, so the lowest client that isn't added yet always has one: no deadlock.
# One that stops or fails puts its buffer back, which wakes the next to see that it should stop.
function train_some!(work::RoundWork, worker, control)
    while true
        buffer = take!(work.buffers)
        i = Threads.atomic_add!(work.next, 1)
        try
            i <= length(work.cohort) && !(@atomic control.stop) || return put!(work.buffers, buffer)
            trained = try_client!(work, worker, buffer, work.cohort[i], control)
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
    from = work.begin_from === nothing ? work.st : work.begin_from[k]
    private = get(() -> private_init(work.f.rules, work.st.θ), work.st.private, k)
    return train_client!(worker, buffer, work.f, from, work.clients, k, private, length(work.cohort), control)
end

"A client's training, or the exception that it threw; the user's interrupt and a lack of memory pass."
function try_client!(work, worker, buffer, k, control)
    try
        return train_next!(work, worker, buffer, k, control)
    catch err
        err isa Union{InterruptException,OutOfMemoryError} && rethrow()
        return err
    end
end

failure_text(err) = string("failed: ", first(first(split(sprint(showerror, err), '\n')), 200))

"Add every trained client whose turn has come, in cohort order."
function add_waiting!(work::RoundWork)
    begun = time_ns()
    while haskey(work.waiting, work.added + 1)
        trained, buffer = pop!(work.waiting, work.added + 1)
        work.added += 1
        trained isa Trained ? add_trained!(work, trained) : push!(work.errors, (work.added, trained))
        put!(work.buffers, buffer)
    end
    work.adding_ns += time_ns() - begun
end

function add_trained!(work::RoundWork, trained::Trained)
    (; f, st) = work
    work.bytes_up += sum(wiresize, values(trained.update))
    work.bytes_down += trained.received
    m = Message(trained.client, st.round + 1, Float64(weight(f, work.clients, trained.client)), map(decoded, trained.update))
    bad = m.client in work.hostile
    for sent in (bad ? send(f.attack.attack, m, (; f.seed, m.round, m.client)) : (m,))
        admit!(work, sent) || continue
        isempty(f.rules) || (work.private[trained.client] = trained.private)
        work.loss += trained.loss
        work.seen += trained.seen
        work.omniscient && add!(work.moments, sent.update)
    end
end

"Add a message's update, or note why it doesn't count."
function admit!(work::RoundWork, m::Message)
    reason = refusal(work.door, m)
    if reason !== nothing
        push!(work.rejected, (; m.client, reason))
        return false
    end
    work.accepted += 1
    work.acc = add!(work.f.aggregate, work.acc, work.accepted, m.update, m.weight)
    return true
end

"The updates of attackers that know all honest ones, after those."
function add_forged!(work::RoundWork)
    (; f, moments) = work
    moments.n == 0 && return
    bad = sort!(collect(work.hostile))
    update = forge(f.attack.attack, moments.mean, deviation(moments), moments.n + length(bad), length(bad))
    foreach(k -> admit!(work, Message(k, work.st.round + 1, Float64(weight(f, work.clients, k)), update)), bad)
end

"The server's part: the rules in reverse order, then the step on the global parameters, as the rules let it out."
function serverstep!(f::Federated, st::State, ū, n, N, engine)
    ctx = (; st.θ, round = st.round + 1, client = 0, n, N, lr = learning_rate(at_round(f, st.round + 1).optimizer),
           rng = Stream(f.seed, :rules, st.round + 1, 0), f.layout, f.model, engine)
    st.shared, ū = server!(f.rules, (; st.shared), ū, ctx)
    if f.server === nothing
        Δ = ū.delta
    else
        st.server, step = Optimisers.apply!(scheduled(f.server, f.server_schedule, st.round + 1), st.server, st.θ, -ū.delta)
        Δ = .-step      # a lazy broadcast until here
    end
    st.shared, Δ = publish!(f.rules, (; st.shared), Δ, ctx)
    st.θ .+= decoded(Δ)
    haskey(ū, :stats) && (st.stats .+= ū.stats)
    return st
end

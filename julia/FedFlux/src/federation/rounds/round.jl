# The round: the cohort trains, the server validates and aggregates the updates and steps.

"""
    round!(f, st, clients, cohort; pool = WorkerPool(f, clients), wanted = length(cohort),
           expected = length(cohort), start_states = nothing,
           sampling = nothing) -> (st, metrics)

One round: each client of `cohort` trains on its own share from `st.θ`; the updates that
pass validation are added in cohort order as soon as they are there; the server takes its
step. Changes `st`. `metrics` is a NamedTuple of the fields of a [`Record`](@ref).

- `wanted`: the number of updates to wait for, if more clients are selected.
- `expected`: the size of a cohort that is expected before it is drawn.
- `start_states`: for each client the state that it starts from, if it isn't `st`
  (asynchronous federation).
- `sampling`: the [`LearnedSampling`](@ref) that is to learn from the round.

A client that fails, in simulation or by an exception in its rules or its loss, drops out;
an invalid update is rejected; the round goes on with the rest. With fewer updates than the
aggregator or `min_updates` needs, or with an aggregate that isn't finite, everything but
the number of rounds stays as it was. If every client throws, the first exception is
thrown here, and `st` is as it was.

The result is the same for any number of threads, or of worker processes. At most two
updates for each of these are held at a time, except by aggregators that need all at once.
"""
function round!(f::Federated, st::State, clients::Clients, cohort;
    pool = WorkerPool(f, clients), wanted = length(cohort),
    expected = length(cohort), start_states = nothing, sampling = nothing)
    responding, dropped, simulated =
        simulate_faults(f.faults, f.seed, st.round + 1, cohort, wanted)
    trainers = trainers!(pool)
    work = open_round(f, st, clients, responding, pool; start_states, trainers, sampling)
    tasks, spawn = min(length(trainers), length(work.cohort)), pool.processes === nothing
    tasks == 0 || in_parallel(tasks, pool.control, pool.tick; spawn) do i
        train_clients!(work, trainers[i], pool.control)
    end
    length(work.errors) == length(work.cohort) > 0 && throw(first(work.errors)[2])
    work.bytes_down += wasted_bytes(f, st, clients, work, dropped)
    append!(work.dropped, dropped)
    metrics = close_round!(work, pool, expected)
    return st, (; metrics..., seconds_simulated = simulated)
end

"""
    open_round(f, st, clients, cohort, pool; start_states = nothing,
               sampling = nothing) -> RoundState

The next round of a federation, in which the clients of `cohort` train, before any has.
"""
function open_round(f, st, clients, cohort, pool; start_states = nothing,
    trainers = trainers!(pool), sampling = nothing)
    begun = time_ns()
    reference = aggregator_reference(f, st, clients, pool)
    return RoundState(f, st, clients, cohort, start_states, trainers, reference, begun,
        sampling)
end

"""
    close_round!(work::RoundState, pool, expected) -> metrics

End a round in which every client of the cohort was taken in or dropped out: aggregate, take
the server's step, and give the fields of a [`Record`](@ref).
"""
function close_round!(work::RoundState, pool, expected)
    (; f, st, clients) = work
    finishing = time_ns()
    work.omniscient && add_forged!(work)
    skipped = server_part!(f, st, clients, work, pool, expected)
    st.round += 1
    adding = work.adding_ns / 1e9
    for (i, err) in work.errors
        push!(work.dropped, (; client = work.cohort[i], reason = failure_text(err)))
    end
    aggregation = report(f.aggregate, work.acc)
    (; bytes_up, bytes_down) = merge((; work.bytes_up, work.bytes_down), aggregation)
    return (; train_loss = work.loss / work.seen, clients = work.accepted,
        seconds_train = (finishing - work.begun) / 1e9 - adding,
        seconds_aggregate = adding + (time_ns() - finishing) / 1e9,
        bytes_up, bytes_down, work.rejected,
        dropped = sort!(work.dropped; by = d -> d.client), skipped, aggregation)
end

"What clients downloaded that sent no update that counts; who crashed downloaded nothing."
function wasted_bytes(f, st, clients, work, dropped)
    alive = [d.client for d in dropped if d.reason != CRASHED]
    failed = [work.cohort[i] for (i, _) in work.errors]
    return sum([alive; failed]; init = 0) do k
        private = private_state(f, st, k)
        ctx = client_context(f, st, clients, k, length(work.cohort))
        downloaded_bytes(f, st, (; st.shared, private), ctx)
    end
end

failure_text(err) =
    string("failed: ", first(first_line(err), 200))

"""
The server's part of a round; `nothing`, or why the round leaves the model as it was. `st`
is changed at the end, all at once.
"""
function server_part!(f, st, clients, work, pool, expected)
    hint = "try a smaller learning rate (lr is $(learning_rate(f.train.optimizer)))"
    needed = max(f.faults.min_updates, min_updates(f.aggregate))
    silent = hides_cohort(f.rules)      # a round of hostile clients looks like any other
    if work.accepted == 0 && !isempty(work.rejected) && !silent
        why = "every update was rejected, the first since it $(first(work.rejected).reason)"
        return any(r -> r.reason == NOT_FINITE, work.rejected) ? "$why: $hint" : why
    end
    work.accepted >= needed || silent ||
        return "$(work.accepted) updates came, and $needed are needed"
    ū = finish(f.aggregate, work.acc, length(pool.workers))
    aborted = apply_protocol!(work, protocol(f.aggregate, work.acc))
    aborted === nothing || return aborted
    work.accepted >= needed || silent ||
        return "$(work.accepted) updates were left, and $needed are needed"
    ū === nothing && silent && (ū = nobody_sent(f.rules, st, length(clients)))
    ū === nothing && return "no update has a weight"
    allfinite(ū) || return "the aggregate is not finite: $hint"
    aggregator = carry_over(f.aggregate, work.acc, ū)
    share =
        silent ? expected / length(clients) :
        work.weight / sum(k -> weight(f, clients, k), 1:length(clients))
    facts = (; n = work.accepted, N = length(clients), share, expected, mean = ū,
        total = total(f.aggregate, work.acc))
    step = server_step(f, st, ū, work.noted, facts, engine(pool))
    allfinite(step.Δ) || return "the server's step is not finite: $hint"
    st.aggregator, st.shared, st.server = aggregator, step.shared, step.server
    st.θ .+= step.Δ
    work.published = step.published
    st.stats .+= step.stats
    merge!(st.private, work.private)
    st.sampling = observe!(work.sampling, st.sampling, work.observed, st.round + 1)
    return nothing
end

"The rules on the server, in reverse order, and the step that its optimizer takes."
function server_step(f::Federated, st::State, ū, seen, facts, engine)
    round = st.round + 1
    lr = learning_rate(at_round(f.train, round).optimizer)
    ctx = (; st.θ, round, client = 0, facts..., lr,
        rng = Stream(f.seed, :rules, round, 0), f.layout, federation = f, engine,
        known = nothing)
    shared, ū = server!(f.rules, (; st.shared, seen), ū, ctx)
    (; optimizer, schedule) = f.server
    rule = optimizer === nothing ? nothing : scheduled(optimizer, schedule, round)
    server, Δ = optimizer_step(rule, st.server, ū, ctx)
    shared, Δ = publish!(f.rules, (; shared), Δ, ctx)
    return (; shared, server, Δ = decoded(Δ), published = Δ, ū.stats)
end

"The new state of the server's optimizer, and the step that it takes."
optimizer_step(::Nothing, server, ū, ctx) = server, ū.delta
function optimizer_step(rule, server, ū, ctx)
    server, step = Optimisers.apply!(rule, deepcopy(server), ctx.θ, -ū.delta)
    return server, .-step       # a lazy broadcast until here
end
function optimizer_step(rule::FunctionStep, server, ū, ctx)
    Δ, server = call_step(rule.f, ctx.θ, ū.delta, server, ctx)
    return server, checked_vector(Δ, length(ū.delta), "server $(rule.name)", ctx.round)
end

"""
What the aggregator refers to: the server's own update, trained on its root data, or what
the aggregator kept of the last round.
"""
function aggregator_reference(f, st, clients, pool)
    needs_round(f.aggregate) && return round_facts(f, st, clients)
    needs_root(f.aggregate) || return st.aggregator
    isempty(clients.root) && return nothing
    worker, round = first(pool.workers), st.round + 1
    copyto!(worker.w, st.θ)
    copyto!(worker.stats, st.stats)
    train_alone!(worker, f, clients, clients.root, at_round(f.train, round),
        Stream(f.seed, :batches, round, 0), round, 0, pool.control)
    return hide!(f.rules, st.shared, worker.w .- st.θ)
end

"""
The run's seed, the number of the round, the largest weight that a client can have, and what
the aggregator kept.
"""
round_facts(f, st, clients) = (; f.seed, round = st.round + 1,
    max_weight = Float64(maximum(k -> weight(f, clients, k), 1:length(clients))),
    kept = st.aggregator)

# The server of a deployment: it says what to send to whom, takes in what comes back, and
# steps.

"""
    next_exchange!(s::ServerSession) -> Exchange

End the exchange in progress, in which who hasn't answered drops out, and begin the next.
"""
next_exchange!(s::ServerSession) = with_blas_threads(() -> advance!(s), 1)

function advance!(s::ServerSession)
    record = nothing
    if s.work !== nothing
        foreach(k -> drop!(s, k, NO_ANSWER), sort!(collect(s.waited)))
        following = s.secure === nothing ? nothing : next_stage!(s.secure, s)
        following === nothing || return following
        record = end_round!(s)
    end
    (; run_log, st) = s
    run_log.stopped === nothing ||
        return Exchange(; st.round, stage = "", record, done = run_log.stopped)
    return begin_round!(s, record)
end

function begin_round!(s::ServerSession, record)
    (; f, st, clients, pool) = s
    round = st.round + 1
    cohort, _, s.expected = next_cohort(f, st, clients, s.sampling)
    s.work = open_round(f, st, clients, cohort, pool; s.sampling.sampling)
    s.work.validator.like = s.like
    s.secure = begin_secure(f.aggregate, s)
    s.stage = first_stage(f.aggregate)
    s.waited = Set(cohort)
    empty!(s.repeated)
    empty!(s.downloaded)
    saved = oldest_saved(s.run_log.checkpoints, st)
    for k in filter(k -> haskey(s.barred, k), cohort)
        s.downloaded[k] = 0
        drop!(s, k, s.barred[k])
    end
    asked = filter(in(s.waited), cohort)
    messages = [train_message(s, k, saved) for k in asked]
    θ = to_model!(similar(st.θ), engine(pool), st.θ)
    model = s.steps === nothing ? arrays(θ, f.layout) : Array{Float32}[]
    return Exchange(; round, s.stage, clients = asked, messages, arrays = model, record)
end

function train_message(s::ServerSession, k, saved)
    (; f, st, clients) = s
    w = begin_message(s, k)
    counted = get(st.private, k, 0)
    model =
        s.steps === nothing ? nothing :
        download(s.steps, st.θ, k in s.unsure ? 0 : counted)
    sent = write_values!(
        w,
        (; s.options, s.outputs, s.tag, n = length(s.work.cohort),
            N = length(clients), weight = weight(f, clients, k),
            round_facts(f, st, clients).max_weight, counted, saved, model,
            st.stats, shared = for_client(f.rules, st.shared, k))
    )
    s.downloaded[k] = sent + (model === nothing ? sizeof(st.θ) : 0)
    return take_bytes!(w)
end

"""
The oldest round from which the server would go on after a restart: that of the oldest of
the newest checkpoints, which is read if the later ones are damaged, or the newest that is
on the disk for certain.
"""
oldest_saved(::Nothing, st) = st.round
function oldest_saved(c::Checkpoints, st)
    rounds = checkpoint_rounds(c.folder)
    isempty(rounds) && return 0
    oldest = rounds[max(end - c.keep + 1, 1)]
    return c.forced == NONE ? oldest : min(oldest, c.forced)
end

"""
    take_reply!(s::ServerSession, k, reply::Vector{UInt8}) -> reason or nothing

Take in what client `k` sent. `nothing` if it will count; else why it is rejected, which
the history says too. A reply is looked at before memory is taken for it.
"""
take_reply!(s::ServerSession, k, reply::Vector{UInt8}) =
    take_or_reject(() -> read_reply(s, k, reply), s, k)

"Take in what `read` makes of a reply of client `k`, or why it makes nothing of it."
function take_or_reject(read, s::ServerSession, k)
    s.work === nothing && return "came while no round was in progress"
    k in s.waited || return reject_again!(s, k)
    try
        note_outcome!(s, k, only_its_own(read))
        return nothing
    catch err
        err isa FedFluxError || rethrow()
        reject!(s, k, err.message)
        return err.message
    end
end

"What `read` makes of a reply; whatever goes wrong with it is a fault of this reply alone."
function only_its_own(read)
    try
        return read()
    catch err
        err isa Union{FedFluxError,InterruptException} && rethrow()
        fail("can't be read: ", first_line(err))
    end
end

const REPLY_BYTES = HEADER_BYTES + 16        # of a trained client, before its update

"The most bytes that a reply can have."
most_bytes(s::ServerSession) =
    REPLY_BYTES + most_bytes(s.like) + more_bytes(s.f.aggregate, s)

"What a reply may have beyond an update in the clear."
more_bytes(::Aggregator, s) = 0
more_bytes(::SecureMean, s) = 256 * length(s.clients)

function read_reply(s::ServerSession, k, reply)
    length(reply) <= most_bytes(s) || fail("is too large: ", length(reply),
        " bytes, and at most ", most_bytes(s), " are possible")
    r = Reader(reply)
    check_header(s, k, read_message_header!(r))
    s.secure === nothing || return hidden_update!(s, k, r)
    loss = reinterpret(Float64, take_word!(r, UInt64, "the loss"))
    seen = take_word!(r, UInt64, "the number of samples seen")
    (; f, st) = s
    seen <= most_seen(f.train, nsamples(s.clients, k)) ||
        malformed("it claims to have seen ", seen, " samples")
    update = decode!(r, s.like, f.rules, st.shared, f.layout)
    check_all_read(r)
    allfinite(update) || fail(NOT_FINITE)
    # The client keeps its rules' states; the server, which round they are of.
    return Trained(k, update, s.work.st.round + 1, loss, Int(seen), s.downloaded[k])
end

"""
The most samples that a client with `n` can have seen in its steps. Batches of chance hold
more than usual now and then; ten times as many they never do.
"""
function most_seen(t::LocalTraining, n)
    usual = min(Float64(t.epochs) * n, Float64(t.maxsteps) * t.batchsize)
    return 10 * usual + 1000
end

"What the first stage's message leaves to count; in later ones nothing is new."
function hidden_update!(s, k, r)
    deliver_reply!(s.secure, s, k, r)
    s.stage in TRAINING_STAGES || return nothing
    return HiddenUpdate(k, s.st.round + 1, s.downloaded[k])
end

function check_header(s, k, header)
    round = s.st.round + 1
    header.federation == s.federation || fail("is of another federation")
    header.client == k || fail("is of client ", header.client, ", and came from client ", k)
    header.round == round || fail("is of round ", header.round, ", not ", round)
    header.stage == s.stage || fail("is of the stage ", header.stage, ", not ", s.stage)
end

function end_round!(s::ServerSession)
    cohort = s.work.cohort
    metrics = close_round!(s.work, s.pool, s.expected)
    s.steps === nothing || note_step!(s.steps, s.work.published, sizeof(s.st.θ))
    s.work = s.secure = nothing
    return note_round!(s.run_log, cohort, metrics)
end

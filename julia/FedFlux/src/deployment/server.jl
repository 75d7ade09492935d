# The server of a deployment: it says what to send to whom, takes in what comes back, and
# steps. Who carries the messages is not its concern.

"""
    ServerSession(f, st, clients, pool, course, sampling; federation, outputs, options)

The server of a federation whose clients are elsewhere, in one exchange of messages at a
time: [`next!`](@ref) gives it, [`receive!`](@ref) and [`drop!`](@ref) take what becomes of
each message.

- `clients`: from [`absent_clients`](@ref).  `course`: a [`Course`](@ref).
- `federation`: 16 bytes that name it.  `outputs`, `options`: see [`ClientSession`](@ref).
"""
mutable struct ServerSession
    f::Federated
    st::State
    clients::Clients
    pool::WorkerPool
    course::Course
    sampling::CohortSampling
    federation::Vector{UInt8}
    outputs::Int
    options::Dict{String,String}
    tag::String
    like::NamedTuple                # the shape of every update
    stage::String                   # of the exchange in progress; "" before the first
    work::Union{Nothing,RoundWork}  # the round in progress
    expected::Float64               # the size that its cohort was expected to have
    waited::Set{Int}                # who hasn't answered yet
    repeated::Set{Int}              # who sent more than was asked for
    downloaded::Dict{Int,Int}       # bytes that each client of the cohort was sent
end

function ServerSession(f, st, clients, pool, course, sampling; federation, outputs, options)
    like = shape(nobody_sent(f.rules, st, length(clients)))
    return ServerSession(f, st, clients, pool, course, sampling, federation, outputs,
        options, model_tag(f, engine(pool)), like, "", nothing, 0.0, Set{Int}(),
        Set{Int}(), Dict{Int,Int}())
end

"""
    Exchange

What [`next!`](@ref) asks for: a `stage` of `round`, of these `clients`; the `messages` for
them; and `arrays`, the global model, where the messages don't hold it. `record` is the
[`Record`](@ref) of the round that the call ended, or `nothing`; `done`, why the run ended,
or `nothing`.
"""
Base.@kwdef struct Exchange
    round::Int
    stage::String
    clients::Vector{Int} = Int[]
    messages::Vector{Vector{UInt8}} = Vector{UInt8}[]
    arrays::Vector{Array{Float32}} = Array{Float32}[]
    record::Union{Nothing,Record} = nothing
    done::Union{Nothing,String} = nothing
end

"""
    next!(s::ServerSession) -> Exchange

End the exchange in progress, in which who hasn't answered drops out, and begin the next.
"""
next!(s::ServerSession) = with_blas_threads(() -> next_exchange!(s), 1)

function next_exchange!(s::ServerSession)
    record = s.work === nothing ? nothing : end_round!(s)
    (; course, st) = s
    course.stopped === nothing ||
        return Exchange(; st.round, stage = "", record, done = course.stopped)
    cohort, _, s.expected = next_cohort(s.f, st, s.clients, s.sampling)
    s.work = open_round(s.f, st, s.clients, cohort, s.pool)
    s.work.validator.like = s.like
    s.stage = "train"
    s.waited = Set(cohort)
    empty!(s.repeated)
    empty!(s.downloaded)
    saved = last_saved(course.checkpoints, st)
    messages = [train_message(s, k, saved) for k in cohort]
    θ = to_model!(similar(st.θ), engine(s.pool), st.θ)
    return Exchange(; round = st.round + 1, s.stage, clients = cohort, messages,
        arrays = arrays(θ, s.f.layout), record)
end

function train_message(s::ServerSession, k, saved)
    (; f, st) = s
    w = write_frame!(Writer(), Frame("train", s.federation, st.round + 1, k))
    sent = write_values!(
        w,
        (; s.options, s.outputs, s.tag, n = length(s.work.cohort),
            N = length(s.clients), counted = get(st.private, k, 0),
            saved, st.stats,
            shared = for_client(f.rules, st.shared, k))
    )
    s.downloaded[k] = sizeof(st.θ) + sent
    return take_bytes!(w)
end

"The round from which the server would go on after a restart."
last_saved(::Nothing, st) = st.round
last_saved(c::Checkpoints, st) = maximum(checkpoint_rounds(c.folder); init = 0)

"""
    receive!(s::ServerSession, k, reply::Vector{UInt8}) -> reason or nothing

Take in what client `k` sent. `nothing` where it will count; else why it is rejected, which
the history says too. A reply is looked at before memory is taken for it.
"""
function receive!(s::ServerSession, k, reply::Vector{UInt8})
    s.work === nothing && return "came while no round was in progress"
    k in s.waited || return reject_repeated!(s, k)
    outcome = try
        read_reply(s, k, reply)
    catch err
        err isa FedFluxError || rethrow()
        NoUpdate(k, err.message, true, s.downloaded[k])
    end
    settle!(s, k, outcome)
    return outcome isa NoUpdate ? outcome.reason : nothing
end

"What a client that isn't waited for sends is in the history once."
function reject_repeated!(s, k)
    reason = k in s.work.cohort ? "was sent twice" : "was not asked in this round"
    if !(k in s.repeated)
        push!(s.repeated, k)
        push!(s.work.rejected, (; client = k, reason))
    end
    return reason
end

function settle!(s::ServerSession, k, outcome)
    delete!(s.waited, k)
    take_in!(s.work, findfirst(==(k), s.work.cohort), outcome)
end

"""
    drop!(s::ServerSession, k, reason)

Take note that client `k` will not answer, and why.
"""
function drop!(s::ServerSession, k, reason)
    s.work !== nothing && k in s.waited || return
    settle!(s, k, NoUpdate(k, first(reason, 200), false, s.downloaded[k]))
end

"""
    reject!(s::ServerSession, k, reason)

Take note that what client `k` sent was refused before it came here, and why.
"""
function reject!(s::ServerSession, k, reason)
    s.work !== nothing && k in s.waited || return
    settle!(s, k, NoUpdate(k, first(reason, 200), true, s.downloaded[k]))
end

const REPLY_BYTES = FRAME_BYTES + 16        # of a trained client, before its update

"The most bytes that a reply can have."
most_bytes(s::ServerSession) = REPLY_BYTES + most_bytes(s.like)

function read_reply(s::ServerSession, k, reply)
    length(reply) <= most_bytes(s) || fail("is too large: ", length(reply),
        " bytes, and at most ", most_bytes(s), " are possible")
    r = Reader(reply)
    check_frame(s, k, read_frame!(r))
    loss = reinterpret(Float64, take_word!(r, UInt64, "the loss"))
    seen = take_word!(r, UInt64, "the number of samples seen")
    seen <= 1 << 40 || malformed("it claims to have seen ", seen, " samples")
    (; f, st) = s
    update = decode!(r, s.like, f.rules, st.shared, f.layout)
    check_all_read(r)
    allfinite(update) || fail(NOT_FINITE)
    # The client keeps its rules' states; the server, which round they are of.
    return Trained(k, update, s.work.st.round + 1, loss, Int(seen), s.downloaded[k])
end

function check_frame(s, k, frame)
    round = s.st.round + 1
    frame.federation == s.federation || fail("is of another federation")
    frame.client == k || fail("is of client ", frame.client, ", and came from client ", k)
    frame.round == round || fail("is of round ", frame.round, ", not ", round)
    frame.stage == s.stage || fail("is of the stage ", frame.stage, ", not ", s.stage)
end

function end_round!(s::ServerSession)
    foreach(k -> drop!(s, k, "did not answer"), sort!(collect(s.waited)))
    cohort = s.work.cohort
    metrics = close_round!(s.work, s.pool, s.expected)
    s.work = nothing
    return note_round!(s.course, cohort, metrics)
end

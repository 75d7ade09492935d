# The server's side of a deployment between messages: its round in progress, who is waited
# for, and what becomes of those who don't answer as they should.

"""
    ServerSession(f, st, clients, pool, run_log, sampling; federation, outputs, options,
                  key = "")

The server of a federation whose clients are elsewhere, in one exchange of messages at a
time: [`next_exchange!`](@ref) gives it; [`take_reply!`](@ref), [`drop!`](@ref) and
[`reject!`](@ref) take what becomes of each message. Who carries them is not its concern.

- `clients`: from [`absent_clients`](@ref).  `run_log`: a [`RunLog`](@ref).
- `federation`: 16 bytes that name it.  `outputs`, `options`: see [`ClientSession`](@ref).
- `key`: the number of the clients' key, if the aggregate is [`CKKS`](@ref).
"""
mutable struct ServerSession
    f::Federated
    st::State
    clients::Clients
    pool::WorkerPool
    run_log::RunLog
    sampling::CohortSampling
    federation::Vector{UInt8}
    outputs::Int
    options::Dict{String,String}
    key::String
    tag::String
    like::NamedTuple                # the shape of every update
    stage::String                   # of the exchange in progress; "" before the first
    work::Union{Nothing,RoundState} # the round in progress
    secure::Any                     # of updates that it doesn't see: sums in progress
    expected::Float64               # the size that its cohort was expected to have
    waited::Set{Int}                # who hasn't answered yet
    repeated::Set{Int}              # who sent more than was asked for
    downloaded::Dict{Int,Int}       # bytes that each client of the cohort was sent
    steps::Union{Nothing,StepHistory}       # if the download is compressed
    unsure::Set{Int}                # who failed, and may have lost its model
    barred::Dict{Int,String}        # who stopped a round, and why: it isn't asked again
end

function ServerSession(f, st, clients, pool, run_log, sampling; federation, outputs,
    options, key = "")
    like = expected_shape(f.rules, st, length(clients))
    return ServerSession(f, st, clients, pool, run_log, sampling, federation, outputs,
        options, key, model_tag(f, engine(pool)), like, "", nothing, nothing, 0.0,
        Set{Int}(), Set{Int}(), Dict{Int,Int}(),
        compresses_steps(f.rules) ? StepHistory(st.round, []) : nothing, Set{Int}(),
        Dict{Int,String}())
end

"""
    Exchange

What [`next_exchange!`](@ref) asks for: a `stage` of `round`, of these `clients`; the
`messages` for them; and `arrays`, the global model, if the messages don't hold it.
`record` is the [`Record`](@ref) of the round that the call ended, or `nothing`; `done`, why
the run ended, or `nothing`.
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

"A message of this exchange to client `k`, of which its header is there."
begin_message(s::ServerSession, k) = write_message_header!(Writer(),
    MessageHeader(s.stage, s.federation, s.st.round + 1, k))

stage_number(s) = findfirst(==(s.stage), SECURE_STAGES)

const NO_ANSWER = "did not answer"
"What a client that isn't waited for sends is in the history once."
function reject_again!(s, k)
    reason = k in s.work.cohort ? SENT_TWICE : "was not asked in this round"
    if !(k in s.repeated)
        push!(s.repeated, k)
        push!(s.work.rejected, (; client = k, reason))
    end
    return reason
end

function note_outcome!(s::ServerSession, k, outcome)
    delete!(s.waited, k)
    outcome isa Union{Trained,HiddenUpdate} && delete!(s.unsure, k)
    outcome === nothing || take_in!(s.work, findfirst(==(k), s.work.cohort), outcome)
end

"""
    drop!(s::ServerSession, k, reason)

Take note that client `k` will not answer, and why.
"""
drop!(s::ServerSession, k, reason) = leave_out!(s, k, reason, false)

"""
    reject!(s::ServerSession, k, reason)

Take note that what client `k` sent was refused, here or before it came here, and why.
"""
reject!(s::ServerSession, k, reason) = leave_out!(s, k, reason, true)

"Take note that client `k` vanished after the first stage of sums in progress."
function vanish! end

function leave_out!(s, k, reason, rejected)
    s.work !== nothing && k in s.waited || return
    reason = first(reason, 200)
    push!(s.unsure, k)
    s.stage in TRAINING_STAGES &&
        return note_outcome!(s, k, MissingUpdate(k, reason, rejected, s.downloaded[k]))
    # In a later stage it vanishes: the protocol says whether its update is in the sum.
    rejected && push!(s.work.rejected, (; client = k, reason))
    delete!(s.waited, k)
    vanish!(s.secure, s, k, reason)
end

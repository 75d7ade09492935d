# Inside a round: workers take clients one after another; updates are added in cohort order.

"A round in progress: the next client to train, and trained ones that wait for their turn."
Base.@kwdef mutable struct RoundState{F,C,V,B}
    f::F
    st::State
    clients::C
    cohort::Vector{Int}                          # who trains
    begun::UInt64                                # time_ns() when it was opened
    start_states::V                # client => the state that it starts from; nothing: st
    next::Threads.Atomic{Int} = Threads.Atomic{Int}(1)   # cohort[next] is the next to train
    buffers::Channel{B}            # two per worker: who holds one may train a client
    lock::ReentrantLock = ReentrantLock()        # guards everything below
    waiting::Dict{Int,Any} = Dict{Int,Any}()     # position => (trained, buffer)
    added::Int = 0
    acc::Any                                     # the aggregator's
    private::Dict{Int,Any} = Dict{Int,Any}()
    loss::Float64 = 0.0
    seen::Int = 0
    sampling::Any = nothing                      # which learns from what is observed
    observed::Vector{Observed} = Observed[]
    bytes_up::Int = 0
    bytes_down::Int = 0
    adding_ns::UInt64 = UInt64(0)
    validator::Validator
    accepted::Int = 0
    counted::Vector{Tuple{Int,Float64}} = Tuple{Int,Float64}[]    # (client, weight) added
    weight::Float64 = 0.0                        # of the accepted updates
    asked::Float64                               # weight of the cohort
    noted::Any                                   # what each rule noted of the updates
    rejected::Vector{Dropped} = Dropped[]
    dropped::Vector{Dropped} = Dropped[]         # who sent nothing that is in the aggregate
    errors::Vector{Tuple{Int,Any}} = Tuple{Int,Any}[]    # position => exception
    hostile::Set{Int}
    omniscient::Bool                             # whether attackers know all updates
    published::Any = nothing                     # the server's step, as it is sent
    moments::Moments = Moments()                 # of the honest ones, for them
    honest::Vector{Any} = []                     # these, for attacks that look at each
end

function RoundState(f, st, clients, cohort, start_states, trainers, reference, begun,
    sampling = nothing)
    new_buffer() = buffer_of(first(trainers), st)
    first_buffer = new_buffer()
    buffers = Channel{typeof(first_buffer)}(Inf)
    put!(buffers, first_buffer)
    foreach(_ -> put!(buffers, new_buffer()), 2:2length(trainers))
    bad = intersect(Set(hostile(f.attack, f.seed, length(clients))), cohort)
    omniscient = !isempty(bad) && FedFlux.omniscient(f.attack.attack)
    max_weight = f.weights === :samples ? total_samples(clients) : 1
    return RoundState(; f, st, clients,
        cohort = omniscient ? filter(!in(bad), cohort) : collect(Int, cohort),
        begun, start_states, sampling, buffers,
        asked = sum(k -> Float64(weight(f, clients, k)), cohort; init = 0.0),
        noted = map(Returns(nothing), f.rules),
        acc = start(f.aggregate, length(cohort), reference),
        validator = Validator(st, cohort, max_weight), hostile = bad, omniscient)
end

# A worker takes a buffer before it takes a client, so the first client that isn't added yet
# always has one: no deadlock. A worker that stops or fails puts its buffer back, which
# wakes the next to see that it should stop.
function train_clients!(work::RoundState, worker, control)
    while true
        buffer = take!(work.buffers)
        i = Threads.atomic_add!(work.next, 1)
        try
            done = i > length(work.cohort) || @atomic control.stop
            done && return put!(work.buffers, buffer)
            trained = try_client!(work, worker, buffer, work.cohort[i], control)
            (@atomic control.stop) && return put!(work.buffers, buffer)
            @lock work.lock take_in!(work, i, trained, buffer)
        catch
            put!(work.buffers, buffer)
            rethrow()
        end
    end
end

"A client's training in the round, or the exception that it threw."
function try_client!(work, worker, buffer, k, control)
    (; f, st) = work
    from = work.start_states === nothing ? st : work.start_states[k]
    private = private_state(f, st, k)
    n = length(work.cohort)
    return attempt!(worker, buffer, f, from, work.clients, k, private, n, control, st.stats)
end

"""
    take_in!(work::RoundState, i, outcome, buffer = nothing)

Take in what became of client `work.cohort[i]`: a [`Trained`](@ref), the exception that it
threw, or a [`MissingUpdate`](@ref). Outcomes wait for their turn: sums are made in the
order of the cohort. `buffer`, which held the update, is free again once that is added.
"""
function take_in!(work::RoundState, i, outcome, buffer = nothing)
    work.waiting[i] = (outcome, buffer)
    begun = time_ns()
    while haskey(work.waiting, work.added + 1)
        outcome, buffer = pop!(work.waiting, work.added + 1)
        work.added += 1
        add_outcome!(work, work.added, outcome)
        buffer === nothing || put!(work.buffers, buffer)
    end
    work.adding_ns += time_ns() - begun
end

"Why a client of the cohort sent no update that counts."
struct MissingUpdate
    client::Int
    reason::String
    rejected::Bool      # it sent something, which the server rejected
    downloaded::Int     # bytes
end

"An update that nobody sees alone: the aggregator's protocol has it in the sum."
struct HiddenUpdate
    client::Int
    private::Any        # as in Trained
    downloaded::Int
end

function add_outcome!(work::RoundState, i, o::HiddenUpdate)
    work.bytes_down += o.downloaded
    isempty(work.f.rules) || (work.private[o.client] = o.private)
    count!(work, o.client, Float64(weight(work.f, work.clients, o.client)))
end

function add_outcome!(work::RoundState, i, o::MissingUpdate)
    work.bytes_down += o.downloaded
    (; client, reason) = o
    push!(o.rejected ? work.rejected : work.dropped, (; client, reason))
end
add_outcome!(work::RoundState, i, trained::Trained) = add_trained!(work, trained)
add_outcome!(work::RoundState, i, err) = push!(work.errors, (i, err))

function add_trained!(work::RoundState, trained::Trained)
    (; f, st) = work
    (; client) = trained
    work.bytes_up += update_bytes(f.aggregate, trained.update)
    work.bytes_down += trained.downloaded
    m = message(work, client, map(decoded, trained.update))
    expect!(work.validator, m.update)
    messages =
        client in work.hostile ?
        send(f.attack.attack, m, (; f.seed, m.round, m.client)) : (m,)
    for sent in messages
        accept!(work, sent) || continue
        isempty(f.rules) || (work.private[client] = trained.private)
        if isfinite(trained.loss)       # one client's NaN is not the round's
            work.loss += trained.loss
            work.seen += trained.seen
            loss = trained.loss / trained.seen
            trained.seen > 0 &&
                push!(work.observed, (; client, loss, samples = trained.seen))
        end
        work.omniscient || continue
        observe!(work.moments, sent.update)
        sees_updates(f.attack.attack) && push!(work.honest, deepcopy(sent.update))
    end
end

message(work::RoundState, k, update) =
    Message(k, work.st.round + 1, Float64(weight(work.f, work.clients, k)), update)

"Add a message's update, or note why it is rejected; whether it counts."
function accept!(work::RoundState, m::Message)
    reason = rejection(work.validator, m)
    if reason !== nothing
        push!(work.rejected, (; m.client, reason))
        return false
    end
    count!(work, m.client, m.weight)
    update = seen!(work, m, admitted(work.f.rules, work.st.shared, m.update))
    work.acc = add!(work.f.aggregate, work.acc, update, m.weight)
    return true
end

"What the rules that see each update make of one."
function seen!(work::RoundState, m::Message, update)
    (; f, st, clients, cohort) = work
    sees_each(f.rules) || return update
    ctx = (; st.θ, m.round, m.client, m.weight, share = m.weight / work.asked,
        n = length(cohort), N = length(clients), f.layout)
    s = (; st.shared, seen = work.noted)
    work.noted, update = each!(f.rules, s, update, ctx)
    return update
end

function count!(work::RoundState, client, weight)
    work.accepted += 1
    work.weight += weight
    push!(work.counted, (client, weight))
end

"The updates of attackers that know all honest ones, after those."
function add_forged!(work::RoundState)
    (; f, moments) = work
    moments.n == 0 && return
    bad = sort!(collect(work.hostile))
    (; attack) = f.attack
    if sees_updates(attack)
        honest = (; updates = work.honest, moments.mean, deviation = deviation(moments))
        for k in bad
            rng = Stream(f.seed, :attack, work.st.round + 1, k)
            accept!(work, message(work, k, forge_from(attack, honest, length(bad), rng)))
        end
        return
    end
    n = moments.n + length(bad)
    update = forge(attack, moments.mean, deviation(moments), n, length(bad))
    foreach(k -> accept!(work, message(work, k, update)), bad)
end

"Take note of what the aggregator's protocol did; who is not in the aggregate drops out."
apply_protocol!(work::RoundState, ::Nothing) = nothing
function apply_protocol!(work::RoundState, p)
    work.bytes_up += p.bytes_up
    work.bytes_down += p.bytes_down
    for (i, reason) in p.left_out
        client, weight = work.counted[i]
        work.accepted -= 1
        work.weight -= weight
        delete!(work.private, client)
        push!(work.dropped, (; client, reason))
    end
    for (i, reason) in p.blamed
        push!(work.rejected, (; client = first(work.counted[i]), reason))
    end
    return p.aborted
end

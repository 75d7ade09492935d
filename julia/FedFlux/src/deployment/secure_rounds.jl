# Secure aggregation between machines: a round is four exchanges. In the first, "keys",
# clients also train. What they trained leaves them masked, in the third.

# A client.

function answer_stage!(::Val{:keys}, reply, c::ClientSession, header, r, arrays, states)
    values = read_values!(r)
    (; f) = prepare!(c, values, arrays, states)
    a = f.aggregate
    a isa SecureMean || fail("asks for secure aggregation, and aggregate is ",
        nameof(typeof(a)), " here")
    knows_cohort(a) || fail("says how many clients' noise is enough, and this client ",
        "takes no server's word for it: give cohort in aggregate")
    trained, lost = train!(c, header, values, arrays, states)
    update = map(decoded, trained.update)
    allfinite(update) || fail(NOT_FINITE)
    own, max_weight = own_weight(c, values)
    acc = start(a, field(Int, values, :n), (; f.seed, header.round, max_weight))
    expect_shape!(a, acc, shape(update))
    input = masked_input(a, acc, update, own)
    party = SecureClient(secure_setup(a, acc, header.round), header.client)
    write_message!(reply, advertise!(party))
    states.secure = party_state(party, input)
    # The loss stays here: the server sees sums only.
    return train_facts(c, trained, lost)
end

"This client's weight and the largest of any, which the server says, checked."
function own_weight(c::ClientSession, values)
    own, most = field(Int, values, :weight), field(Float64, values, :max_weight)
    own == (c.ready.f.weights === :samples ? numobs(c.ready.x) : 1) && own <= most ||
        fail("says that this client's weight is ", own)
    return own, most
end

secure_setup(a::SecureMean, acc::SecureCohort{T}, round) where {T} =
    SecureSetup{T}(; round, words = last(last(places_of(acc.like))), a.neighbours,
        a.threshold, fewest = fewest_senders(a, acc.n))

answer_stage!(::Val{:shares}, reply, c::ClientSession, header, r, arrays, states) =
    go_on!(reply, states, header) do party, input
        share!(party, read_message!(r, NeighborKeys))
    end

answer_stage!(::Val{:masked}, reply, c::ClientSession, header, r, arrays, states) =
    go_on!(reply, states, header) do party, input
        mask!(party, read_message!(r, ReceivedShares), input)
    end

function answer_stage!(::Val{:unmask}, reply, c::ClientSession, header, r, arrays, states)
    facts = go_on!(reply, states, header) do party, input
        unmask!(party, read_message!(r, UnmaskRequest))
    end
    states.secure = nothing         # its secrets are shown or erased
    return facts
end

"The next stage of the party whose state the client kept."
function go_on!(act, reply, states, header)
    states.secure isa NamedTuple ||
        fail("asks for the stage ", header.stage, ", and this client has begun no round")
    party = SecureClient(states.secure)
    (; input) = states.secure
    party.setup.round == header.round && party.id == header.client ||
        fail("is of another round of secure aggregation")
    write_message!(reply, act(party, input))
    states.secure = party_state(party, input)
    return (;)
end

# The server.

first_stage(::Aggregator) = "train"
first_stage(::SecureMean) = "keys"
begin_secure(::Aggregator, s) = nothing
function begin_secure(a::SecureMean, s)
    acc = s.work.acc
    expect_shape!(a, acc, s.like)
    return SecureExchange(SecureServer(secure_setup(a, acc, s.st.round + 1)), Dict(),
        zeros(Int, 4), zeros(Int, 4), [], nothing)
end

"""
The next exchange of a round whose updates the server doesn't see; `nothing` after its last,
or if too few clients are left.
"""
function next_stage!(secure::SecureExchange, s)
    stage = stage_number(s)
    requests = try
        (advertised!, shared!, masked!, unmasked!)[stage](secure.party)
    catch err
        err isa Union{RoundAborted,FedFluxError} || rethrow()
        secure.aborted = err isa RoundAborted ? err.reason : err.message
        nothing
    end
    if stage == 4 || requests === nothing
        secure.aborted === nothing || bar!(s, secure.party.blamed)
        s.work.acc.outcome = secure_outcome(s, requests)
        return nothing
    end
    s.stage = SECURE_STAGES[stage+1]
    secure.asked = Dict{Int,Any}(Int(id) => m for (id, m) in requests)
    clients = sort!(collect(keys(secure.asked)))
    s.waited = Set(clients)
    messages = map(clients) do k
        w = begin_message(s, k)
        write_message!(w, secure.asked[k])
        secure.bytes_down[stage+1] += message_bytes(secure.asked[k])
        take_bytes!(w)
    end
    return Exchange(; round = s.st.round + 1, s.stage, clients, messages)
end

"Ask nobody again who has stopped a round."
bar!(s, blamed) =
    for (k, reason) in blamed
        s.barred[Int(k)] = "is left out: in round $(s.st.round + 1) it $reason"
    end

"What `finish` takes the sum from, by the positions of those who counted."
function secure_outcome(s, sum)
    (; party, vanished, bytes_up, bytes_down, aborted) = s.secure
    position = Dict(k => i for (i, (k, _)) in enumerate(s.work.counted))
    R = eltype(party.sum)
    return SecureOutcome{R}(sum, sort!([position[Int(k)] for k in party.arrived]), aborted,
        [(position[k], stage) for (k, stage) in vanished],
        sort!([(position[Int(k)], reason) for (k, reason) in party.blamed]),
        bytes_up, bytes_down, 0.0, 0.0)
end

"Deliver client `k`'s message of this stage to the server's party."
function deliver_reply!(secure::SecureExchange, s, k, r::Reader)
    (; party, asked) = secure
    stage = stage_number(s)
    begun = r.at
    T = eltype(party.sum)
    message =
        stage == 1 ? read_message!(r, PublicKeys) :
        stage == 2 ? read_message!(r, ShareBundle) :
        stage == 3 ? read_message!(r, MaskedVector{T}, party.setup.words) :
        read_message!(r, UnmaskShares, asked[k])
    check_all_read(r)
    message.client == k || fail("is of client ", message.client, ", and came from ", k)
    deliver!(party, message)
    secure.bytes_up[stage] += r.at - begun
    return nothing
end

vanish!(secure::SecureExchange, s, k, reason) =
    push!(secure.vanished, (k, stage_number(s)))

# CKKS between machines: a round is two exchanges or more. In the first, "encrypt", clients
# train, and what they trained leaves them encrypted. In the next, "decrypt", one of them
# decrypts the sum for the server, which has no key; if it fails, another is asked.

# A client.

function answer_stage!(::Val{:encrypt}, reply, c::ClientSession, header, r, arrays, states)
    values = read_values!(r)
    (; f) = prepare!(c, values, arrays, states)
    f.aggregate isa CKKS || fail("asks for encrypted updates, and aggregate is ",
        nameof(typeof(f.aggregate)), " here")
    trained, lost = train!(c, header, values, arrays, states)
    v = concatenated(Float32, map(decoded, parts(trained.update)))
    allfinite(v) || fail(NOT_FINITE)
    own, most = own_weight(c, values)
    n = field(Int, values, :n)
    append!(reply.bytes, ask_party(Vector{UInt8}, c.party, "encrypt", v, own / most, n))
    states.secure = (; encrypted = header.round, n, size = length(v))
    # The loss stays here: the server sees sums only.
    return train_facts(c, trained, lost)
end

function answer_stage!(::Val{:decrypt}, reply, c::ClientSession, header, r, arrays, states)
    own = states.secure
    own isa NamedTuple && get(own, :encrypted, 0) == header.round ||
        fail("asks to decrypt, and this client encrypted nothing for round ", header.round,
            ", or has decrypted its sum")
    states.secure = nothing         # one sum in a round, whoever asks
    message = take_bytes!(r, left(r), "the sum")
    total = ask_party(Vector{Float64}, c.party, "decrypt", message, own.size, own.n)
    foreach(x -> writefloat64!(reply, x), total)
    return (;)
end

# The server.

"A round of CKKS on the server: the sum so far, and who was asked to decrypt it."
mutable struct EncryptedExchange
    party::Any                      # a Sum of Python's he/_sum.py
    asked::Vector{Int}
    failed::Vector{String}          # why those who were asked didn't decrypt
    total::Union{Nothing,Vector{Float64}}
    bytes_up::Int
    bytes_down::Int
    bytes_update::Int               # the largest encrypted update
    bytes_sum::Int
    seconds_add::Float64
end

values_sent(like) = sum(like.vectors) + like.stats + sum(like.metrics; init = 0)

"Refuse parameters with which the key or the values would suffer, before any training."
check_encryption(::Aggregator, s, rounds) = nothing
check_encryption(a::CKKS, s, rounds) = ask_party(Nothing, a.parties, "check",
    values_sent(s.like), length(s.clients), rounds)

more_bytes(a::CKKS, s) = ask_party(Int, a.parties, "most_bytes", values_sent(s.like))

first_stage(::CKKS) = "encrypt"
function begin_secure(a::CKKS, s)
    sum = ask_party(Any, a.parties, "sum", s.key, values_sent(s.like))
    return EncryptedExchange(sum, [], [], nothing, 0, 0, 0, 0, 0.0)
end

function deliver_reply!(x::EncryptedExchange, s, k, r::Reader)
    bytes = left(r)
    if s.stage == "encrypt"
        x.seconds_add += @elapsed ask_party(Nothing, x.party, "add",
            take_bytes!(r, bytes, "an encrypted update"))
        x.bytes_update = max(x.bytes_update, bytes)
    else
        n = values_sent(s.like)
        check_bytes("the decrypted sum", bytes, 8n)
        total = [reinterpret(Float64, take_word!(r, UInt64, "a value")) for _ = 1:n]
        all(isfinite, total) || fail(NOT_FINITE)
        x.total = total
    end
    x.bytes_up += bytes
    return nothing
end

vanish!(x::EncryptedExchange, s, k, reason) = push!(x.failed, "client $k: $reason")

function next_stage!(x::EncryptedExchange, s)
    senders = first.(s.work.counted)
    left = setdiff(senders, x.asked)
    # The sum of one update is that update.
    if x.total !== nothing || length(senders) < 2 || isempty(left)
        s.work.acc.decrypted = decrypted(x, s)
        return nothing
    end
    round = s.st.round + 1
    k = left[mod1(round, length(left))]     # another one in each round
    push!(x.asked, k)
    s.stage, s.waited = "decrypt", Set(k)
    w = begin_message(s, k)
    message = ask_party(Vector{UInt8}, x.party, "message")
    append!(w.bytes, message)
    x.bytes_sum = length(message)
    x.bytes_down += x.bytes_sum
    return Exchange(; round, s.stage, clients = [k], messages = [take_bytes!(w)])
end

function decrypted(x::EncryptedExchange, s)
    (; f, st, clients, work) = s
    aborted =
        x.total !== nothing || isempty(work.counted) ? nothing :
        length(work.counted) < 2 ? "only one update came, and its sum would show it" :
        "no client decrypted the sum: $(join(x.failed, "; "))"
    report = (; x.bytes_update, x.bytes_sum, x.seconds_add,
        decrypted_by = x.total === nothing ? nothing : last(x.asked))
    return Decrypted(x.total, nobody_sent(f.rules, st, length(clients)),
        work.weight / round_facts(f, st, clients).max_weight, work.weight, aborted,
        x.bytes_up, x.bytes_down, report)
end

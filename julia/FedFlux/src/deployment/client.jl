# A client on a machine of its own: it answers the server's messages, one at a time, and
# keeps nothing but what it is given back with the next one.

"""
    ClientSession(make, options, party = nothing; number = nothing, rounds = nothing,
                  parameters = nothing)

A client of a federation whose server is elsewhere. `make(outputs)` gives `(f, x, y)`: the
federation with a model of so many outputs, and this client's data. It is called for the
first message, since only the server knows all labels. `options`: those that decide the
numbers, by name, as JSON. They must be the server's. `party`: what encrypts and decrypts
if the aggregate is [`CKKS`](@ref), a `Node` of Python's he/_nodes.py.
`number`: the client's, if it has one: messages for another are refused. `rounds`: how many
it answers, if each answer costs privacy. `parameters(outputs)`: how many the model has,
known without making it.
"""
mutable struct ClientSession
    make::Any
    options::Dict{String,String}
    party::Any
    number::Union{Nothing,Int}
    rounds::Union{Nothing,Int}
    parameters::Any
    ready::Any      # what the first message made: (; f, x, y, pool, tag, outputs)
end
ClientSession(make, options, party = nothing; number = nothing, rounds = nothing,
    parameters = nothing) =
    ClientSession(make, options, party, number, rounds, parameters, nothing)

"The client's federation as a message asks for it, after a check of the options."
function prepare!(c::ClientSession, values, arrays, states)
    check_options(c.options, field(Dict, values, :options))
    outputs = field(Int, values, :outputs)
    0 <= outputs <= MAX_CLASSES || fail("asks for a model of ", outputs, " outputs")
    return prepare!(c, outputs, model_size(get(values, :model, nothing), arrays, states))
end

function prepare!(c::ClientSession, outputs::Int, came)
    c.ready !== nothing && c.ready.outputs == outputs && return c.ready
    # A server's number makes no larger a model than the server has sent.
    needed = c.parameters === nothing ? came : c.parameters(outputs)
    came == needed || fail("asks for a model of ", outputs, " outputs, which has ", needed,
        " parameters, and came with ", came)
    f, x, y = c.make(outputs)
    pool = WorkerPool(f, x, y; threads = 1)
    return c.ready = (; f, x, y, pool, tag = model_tag(f, engine(pool)), outputs)
end

"How many parameters came with a message, or are known of a model that it changes."
model_size(::Nothing, arrays, states) = sum(length, arrays; init = 0)
model_size(sent::Vector, arrays, states) = length(sent)
function model_size(sent::NamedTuple, arrays, states)
    kept = [s.θ for s in states.states if s isa NamedTuple && haskey(s, :θ)]
    return maximum(θ -> θ isa Vector ? length(θ) : 0, kept; init = 0)
end
model_size(sent, arrays, states) = fail("has no valid model")

"""
    model_tag(f, engine) -> String

A digest of the names and sizes of the model's arrays, of the order in which the engine
holds their values, and of what stays as it is: flat vectors mean the same if it is
equal.
"""
function model_tag(f::Federated, e::Engine)
    names = join(("$(s.name) $(s.dims)" for s in f.layout.slots), ", ")
    numbers = Float32.((1:f.layout.n) .% (1 << 24))
    order = to_model!(similar(numbers), e, numbers)
    # What neither trains nor travels must be alike on both sides.
    fixed = Float32[v for (_, a) in fixed_arrays(f.model, f.layout.frozen) for v in a]
    bytes = reinterpret(UInt8, htol.([order; fixed]))
    return bytes2hex(sha256([codeunits(names); bytes])[1:16])
end

"""
    answer!(c::ClientSession, message, arrays, kept) -> (facts, reply, kept)

Answer a message of the server.

- `message`: its bytes.  `arrays`: the global model, arrays in model order, if the
  message doesn't hold it.
- `kept`: the bytes that this function gave back with the last message; empty at first.

`facts` are what the node may tell its user: client, round, stage, loss, samples. Throws a
[`FedFluxError`](@ref) for a message that isn't one, or is of another federation's options
or model; and what the client's own data, loss or rules throw.
"""
function answer!(c::ClientSession, message::Vector{UInt8}, arrays, kept)
    r = Reader(message)
    header = read_message_header!(r)
    header.client == something(c.number, header.client) ||
        fail("is for client ", header.client, ", and this is client ", c.number)
    states = ClientStates(kept, header.federation)
    check_unanswered(states, header)
    reply = write_message_header!(Writer(), header)
    facts = with_blas_threads(1) do
        answer_stage!(Val(Symbol(header.stage)), reply, c, header, r, arrays, states)
    end
    once = c.ready === nothing || answers_once(c.ready.f)   # no training: sums in progress
    once && note_answer!(states, header)
    facts = (; header.client, header.round, header.stage, once, facts...)
    return facts, take_bytes!(reply), kept_bytes(states)
end

function answer_stage!(::Val{:train}, reply, c::ClientSession, header, r, arrays, states)
    values = read_values!(r)
    # Whatever the server asks: who joined for sums only sends nothing in the clear.
    prepare!(c, values, arrays, states).f.aggregate isa Union{SecureMean,CKKS} &&
        fail("asks for an update in the clear, and this client joined for secure sums")
    trained, lost = train!(c, header, values, arrays, states)
    writefloat64!(reply, trained.loss)
    writeword!(reply, UInt64(trained.seen))
    encode!(reply, trained.update)
    return train_facts(c, trained, lost)
end

"`lost`: the client's state is gone, and it began anew."
train_facts(c, trained, lost = false) =
    (; loss = trained.loss / trained.seen, samples = numobs(c.ready.x), lost)

writefloat64!(w::Writer, x) = writeword!(w, reinterpret(UInt64, Float64(x)))

"""
Train as the message asks; the rules' state after it is remembered. Gives what was trained,
and whether the state before was lost.
"""
function train!(c::ClientSession, header, values, arrays, states)
    ready = prepare!(c, values, arrays, states)
    (; f, pool) = ready
    field(String, values, :tag) == ready.tag || fail("is for another model, or one whose ",
        "values another trainer orders otherwise: give the same model and trainer on all ",
        "machines (here it is ", pool.trainer, ")")
    n, N = field(Int, values, :n), field(Int, values, :N)
    1 <= header.client <= N && 1 <= n <= N <= MOST_CLIENTS ||
        fail("asks client ", header.client, " of ", N, " in a cohort of ", n)
    check_round(c, f, header.round)
    e = engine(pool)
    stats = field(Vector{Float32}, values, :stats)
    length(stats) == nstats(e) || fail("holds ", length(stats), " statistics, and the ",
        "model has ", nstats(e))
    shared = field(Tuple, values, :shared)
    length(shared) == length(f.rules) || fail("holds the states of other rules")
    counted, saved = field(Int, values, :counted), field(Int, values, :saved)
    answers_once(f) && close_rounds!(states, min(saved, header.round - 1))
    before = state_after!(states, counted, saved)
    sent = get(values, :model, nothing)
    θ =
        sent === nothing ? flat_model(arrays, f.layout, e) :
        model_from(sent, states, f.rules, f.layout)
    allfinite(θ) && allfinite(stats) || fail(NOT_FINITE)
    st = State(header.round - 1, θ, stats, shared, Dict{Int,Any}(), nothing, nothing)
    private = before === nothing ? private_init(f.rules, θ) : before.private
    trained = local_round(ready, st, header.client, N, private, n)
    remember!(states, header.round,
        (; trained.private, θ = compresses_steps(f.rules) ? θ : nothing))
    lost = before === nothing && counted > 0 && any(!isnothing, private)
    return trained, lost
end

const MOST_CLIENTS = 1 << 24        # a client holds a number for each of them

"Refuse more answers than the client was told of, if each costs privacy."
check_round(c::ClientSession, f, round) =
    !answers_once(f) || c.rounds === nothing || round <= c.rounds ||
    fail("is of round ", round, ", and this client knows of ", c.rounds,
        ": give its node the run's rounds")

"Client `k`'s part of a round, on its own data."
function local_round(ready, st, k, N, private, n)
    (; f, x, y, pool) = ready
    buffer = Update(; delta = similar(st.θ), stats = similar(st.stats))
    return train_client!(first(pool.workers), buffer, f, st, lone_client(x, y, k, N), k,
        private, n, pool.control)
end

"Throw if the server's options differ from the client's: the result would be another."
function check_options(own, servers)
    for name in sort!(collect(keys(own)))
        get(servers, name, nothing) == own[name] && continue
        fail("option ", name, " is ", own[name], " here, and ",
            get(servers, name, "unknown"), " on the server; give the same")
    end
end

"Arrays in model order, which came from elsewhere, as a flat vector in the engine's order."
function flat_model(arrays, layout::Layout, e::Engine)
    length(arrays) == length(layout.slots) || fail("holds ", length(arrays),
        " arrays, and the model has ", length(layout.slots))
    for (a, slot) in zip(arrays, layout.slots)
        a isa Array{Float32} && size(a) == slot.dims ||
            fail("holds an array of size ", size(a), " for ", slot.name, ", which has ",
                "size ", slot.dims)
    end
    θ = gather!(Vector{Float32}(undef, layout.n), arrays)
    allfinite(θ) || fail(NOT_FINITE)
    return to_engine!(similar(θ), e, θ)
end

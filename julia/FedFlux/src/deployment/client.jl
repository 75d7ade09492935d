# A client on a machine of its own: it answers the server's messages, one at a time, and
# keeps nothing but what it is given back with the next one.

"""
    ClientSession(make, options)

A client of a federation whose server is elsewhere. `make(outputs)` gives `(f, x, y)`: the
federation with a model of so many outputs, and this client's data; it is called for the
first message, since only the server knows all labels. `options`: those that decide the
numbers, by name, as JSON; they must be the server's.
"""
mutable struct ClientSession
    make::Any
    options::Dict{String,String}
    ready::Any      # what the first message made: (; f, x, y, pool, tag, outputs)
end
ClientSession(make, options) = ClientSession(make, options, nothing)

function prepare!(c::ClientSession, outputs)
    c.ready !== nothing && c.ready.outputs == outputs && return c.ready
    f, x, y = c.make(outputs)
    pool = WorkerPool(f, x, y; threads = 1)
    return c.ready = (; f, x, y, pool, tag = model_tag(f, engine(pool)), outputs)
end

"""
    model_tag(f, engine) -> String

A digest of the names and sizes of the model's arrays, and of the order in which the engine
holds their values: flat vectors mean the same where it is equal.
"""
function model_tag(f::Federated, e::Engine)
    names = join(("$(s.name) $(s.dims)" for s in f.layout.slots), ", ")
    numbers = Float32.((1:f.layout.n) .% (1 << 24))
    order = to_model!(similar(numbers), e, numbers)
    return bytes2hex(sha256([codeunits(names); reinterpret(UInt8, htol.(order))])[1:16])
end

"""
    answer!(c::ClientSession, message, arrays, kept) -> (facts, reply, kept)

Answer a message of the server.

- `message`: its bytes.  `arrays`: the global model, arrays in model order, where the
  message doesn't hold it.
- `kept`: the bytes that this function gave back with the last message; empty at first.

`facts` are what the node may tell its user: client, round, stage, loss, samples. Throws a
[`FedFluxError`](@ref) for a message that isn't one, or is of another federation's options
or model; and what the client's own data, loss or rules throw.
"""
function answer!(c::ClientSession, message, arrays, kept)
    r = Reader(message)
    frame = read_frame!(r)
    values = read_values!(r)
    states = ClientStates(kept, frame.federation)
    reply = write_frame!(Writer(), frame)
    facts = with_blas_threads(() -> answer!(reply, c, frame, values, arrays, states), 1)
    facts = (; frame.client, frame.round, frame.stage, facts...)
    return facts, take_bytes!(reply), kept_bytes(states)
end

function answer!(reply::Writer, c::ClientSession, frame, values, arrays, states)
    frame.stage == "train" || fail("asks for the stage ", frame.stage,
        ", which this federation doesn't have")
    trained, ready = train!(c, frame, values, arrays, states)
    writefloat64!(reply, trained.loss)
    writeword!(reply, UInt64(trained.seen))
    encode!(reply, trained.update)
    return (; loss = trained.loss / trained.seen, samples = numobs(ready.x))
end

writefloat64!(w::Writer, x) = writeword!(w, reinterpret(UInt64, Float64(x)))

"Train as the message asks; the rules' state after it is remembered."
function train!(c::ClientSession, frame, values, arrays, states)
    check_options(c.options, field(Dict, values, :options))
    ready = prepare!(c, field(Int, values, :outputs))
    (; f, pool) = ready
    field(String, values, :tag) == ready.tag || fail("is for another model, or one whose ",
        "values another trainer orders otherwise: give the same model and trainer on all ",
        "machines (here it is ", pool.trainer, ")")
    n, N = field(Int, values, :n), field(Int, values, :N)
    1 <= frame.client <= N && 1 <= n <= N ||
        fail("asks client ", frame.client, " of ", N, " in a cohort of ", n)
    e = engine(pool)
    stats = field(Vector{Float32}, values, :stats)
    length(stats) == nstats(e) || fail("holds ", length(stats), " statistics, and the ",
        "model has ", nstats(e))
    shared = field(Tuple, values, :shared)
    length(shared) == length(f.rules) || fail("holds the states of other rules")
    θ = to_engine!(Vector{Float32}(undef, f.layout.n), e, flat_model(arrays, f.layout))
    st = State(frame.round - 1, θ, stats, shared, Dict{Int,Any}(), nothing, nothing)
    private = state_after!(states, field(Int, values, :counted),
        field(Int, values, :saved), private_init(f.rules, θ))
    clients = lone_client(ready.x, ready.y, frame.client, N)
    buffer = Update(; delta = similar(θ), stats = similar(stats))
    worker = first(pool.workers)
    trained = train_client!(worker, buffer, f, st, clients, frame.client, private, n,
        pool.control)
    remember!(states, frame.round, trained.private)
    return trained, ready
end

"Throw where the server's options differ from the client's: the result would be another."
function check_options(own, servers)
    for name in sort!(collect(keys(own)))
        get(servers, name, nothing) == own[name] && continue
        fail("option ", name, " is ", own[name], " here, and ",
            get(servers, name, "unknown"), " on the server; give the same")
    end
end

"Arrays in model order as one vector, after a check that they fit the model."
function flat_model(arrays, layout::Layout)
    length(arrays) == length(layout.slots) || fail("the server sent ", length(arrays),
        " arrays, and the model has ", length(layout.slots))
    for (a, slot) in zip(arrays, layout.slots)
        size(a) == slot.dims || fail("the server sent an array of size ", size(a), " for ",
            slot.name, ", which has size ", slot.dims)
        allfinite(a) || fail("the server sent NaN or Inf for ", slot.name)
    end
    return gather!(Vector{Float32}(undef, layout.n), arrays)
end

# Python's entries to a deployment: text, bytes and arrays in and out, and two objects that
# Python only holds. A mistake comes back as {"error": message}.

"""
    _server_open(config, facts, data, model, init) -> (json, server)

Open the server of a deployment. `config`, `model` and `init` as in `_pyrun`; `facts`: a
JSON list of what each client told, with its number as `client`; `data`: `nothing`, or
`(x_test, y_test)` or `(x_test, y_test, x_root, y_root)`, with reversed axes.
"""
_server_open(config::AbstractString, facts::AbstractString, data, model, init) =
    answer(nothing) do
        o = python_options(config, model)
        init = init === nothing ? nothing : [Array{Float32}(a) for a in init]
        d = open_server(o, numbered(JSON.parse(facts)), server_data(data), init)
        (; f, st, pool, federation) = d.session
        slots = f.layout.slots
        facts = Dict("round" => st.round, "names" => [s.name for s in slots],
            "shapes" => [reverse(collect(s.dims)) for s in slots],
            "parameters" => f.layout.n, "federation" => bytes2hex(federation),
            "clients" => length(d.session.clients),
            "trainer" => pool.trainer, "threads" => length(pool.workers),
            "most_bytes" => most_bytes(d.session), "warnings" => d.warnings)
        facts, d
    end

"The facts of clients in the order of their numbers, which are 1 to as many as there are."
function numbered(facts)
    facts isa AbstractVector && all(c -> c isa AbstractDict, facts) ||
        fail("facts: expected a list with an object for each client")
    sorted = sort(facts; by = c -> get(c, "client", 0))
    [get(c, "client", 0) for c in sorted] == 1:length(facts) ||
        fail("facts: expected clients with the numbers 1 to ", length(facts))
    return sorted
end

server_data(::Nothing) = nothing
function server_data(data)
    xtest, ytest, x, y = map(own_array, (data..., nothing, nothing))
    x === nothing && (x = xtest; y = ytest)
    return Dataset(x, y, xtest, ytest; name = "arrays")
end

"""
    _server_next(server) -> (json, messages, arrays)

End the exchange in progress and begin the next: see [`next_exchange!`](@ref). `messages`
are the bytes for each client of `clients`, `arrays` the global model if they don't hold
it.
"""
_server_next(d::Deployment) =
    answer(Vector{UInt8}[], Array{Float32}[]) do
        e = next_exchange!(d.session)
        e.done === nothing || close!(d)
        (; round, stage, clients, record, done) = e
        facts = Dict("round" => round, "stage" => stage, "clients" => clients,
            "done" => done, "record" => record === nothing ? nothing : asdict(record))
        facts, e.messages, e.arrays
    end

"""
    _server_receive(server, k, body, arrays, samples) -> json

Take in what client `k` sent: `{"accepted": true}` or `{"rejected": reason}`. `body`: the
bytes of a FedFlux client's reply; or `nothing` for a plain Flower client, whose new weights
are `arrays` and who trained on `samples`.
"""
_server_receive(d::Deployment, k, body, arrays, samples) =
    json_answer() do
        reason =
            body === nothing ?
            take_reply!(d.session, Int(k), own_arrays(arrays), Int(samples)) :
            take_reply!(d.session, Int(k), own_bytes(body))
        reason === nothing ? Dict("accepted" => true) : Dict("rejected" => reason)
    end

own_arrays(arrays) = Array{Float32}[Array{Float32}(a) for a in arrays]

# Python's bytes come as another type of vector.
own_bytes(bytes::Vector{UInt8}) = bytes
own_bytes(bytes) = Vector{UInt8}(bytes)

"""
    _server_dropped(server, k, reason) -> json

Take note that client `k` failed or won't answer.
"""
_server_dropped(d::Deployment, k, reason) =
    json_answer(() -> (drop!(d.session, Int(k), String(reason)); Dict()))

"""
    _server_rejected(server, k, reason) -> json

Take note that what client `k` sent was refused before it came here.
"""
_server_rejected(d::Deployment, k, reason) =
    json_answer(() -> (reject!(d.session, Int(k), String(reason)); Dict()))

"""
    _server_result(server) -> (json, arrays)

The result of the run so far, as `_pyrun` returns it.
"""
_server_result(d::Deployment) =
    answer(Array{Float32}[]) do
        close!(d)
        r = result(d)
        result_facts(r), arrays_in_order(r)
    end

"""
    _client_open(config, data, model, party = nothing, number = nothing) -> (json, client)

Open a client that holds `data`, `(x, y)` or `(x, y, x_test, y_test)` with reversed axes;
the JSON says what the server must know of it. `party` and `number`: see
[`ClientSession`](@ref).
"""
_client_open(config::AbstractString, data, model, party = nothing, number = nothing) =
    answer(nothing) do
        o = python_options(config, model; client = true)
        x, y, xtest, ytest = map(own_array, (data..., nothing, nothing))
        session, facts = open_client(o, Dataset(x, y, xtest, ytest), party,
            number === nothing ? nothing : Int(number))
        facts, session
    end

"""
    _client_answer(client, body, arrays, private) -> (json, reply, private, arrays)

Answer a message of the server: see [`answer!`](@ref). `private` are the bytes that the last
call gave, empty at first. A `body` of `nothing` is from a plain server: then the last are
the new weights, else there are none.
"""
function _client_answer(c::ClientSession, body, arrays, private)
    before, no_reply, no_arrays = own_bytes(private), UInt8[], Array{Float32}[]
    return answer(no_reply, before, no_arrays) do
        θ = own_arrays(arrays)
        errors_as_failures() do
            reply, plain = no_reply, no_arrays
            if body === nothing
                facts, plain, kept = answer!(c, θ, before)
            else
                facts, reply, kept = answer!(c, own_bytes(body), θ, before)
            end
            named = Dict(string(name) => as_json(value) for (name, value) in pairs(facts))
            named, reply, kept, plain
        end
    end
end

"What `f` returns. What its data, loss or rules throw becomes a [`FedFluxError`](@ref)."
function errors_as_failures(f)
    try
        return f()
    catch err
        err isa Union{FedFluxError,InterruptException,OutOfMemoryError} && rethrow()
        fail(failure_text(err))
    end
end

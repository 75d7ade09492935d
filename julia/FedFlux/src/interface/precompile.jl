"One round of a deployment, whose server and clients run in a process of their own each."
function compile_deployment(config, data)
    told, client = _client_open(config, data, nothing)
    facts = [merge(JSON.parse(told), Dict("client" => k)) for k = 1:2]
    _, server = _server_open(config, JSON.json(facts), data, nothing, nothing)
    _, messages, arrays = _server_next(server)
    for (k, message) in enumerate(messages)
        _, reply, _, _ = _client_answer(client, message, arrays, UInt8[])
        _server_receive(server, k, reply, nothing, 0)
    end
    _server_next(server)
    return _server_result(server)
end

# The default path, compiled when the package is installed: what `fedflux.run()` needs for
# its first round; and the parties of secure aggregation, which take long to compile.
@setup_workload begin
    x = rand(Float32, 8, 8, 1, 24)
    y = repeat(0:9, 3)[1:24]
    data = (x, y, x, y)
    config(; more...) =
        JSON.json(Dict("clients" => 2, "rounds" => 1, "batch_size" => 8, pairs(more)...))
    go_on(kind, payload) = false
    @compile_workload begin
        _pyrun(config(), data, nothing, nothing, go_on)
        short = config(; dataset = "digits", local_steps = 1)
        _pyrun(short, nothing, nothing, nothing, go_on)
        compile_deployment(config(), (x, y))
        noise = Dict("noise_multiplier" => 1.0, "sampling_rate" => 0.1, "steps" => 1,
            "delta" => 1e-5, "sampling" => "poisson")
        foreach(("rdp", "pld")) do accountant
            _pyepsilon(JSON.json(merge(noise, Dict("accountant" => accountant))))
        end
        combine_updates(SecureMean(), [Update(; delta = zeros(Float32, 3)) for _ = 1:3])
    end
end

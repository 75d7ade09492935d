# The default path, compiled when the package is installed: what `fedflux.run()` needs for
# its first round; a round of a deployment; and the parties of secure aggregation, which
# take long to compile.
@setup_workload begin
    x = rand(Float32, 8, 8, 1, 24)
    y = repeat(0:9, 3)[1:24]
    data = (x, y, x, y)
    config(; more...) =
        JSON.json(Dict("clients" => 2, "rounds" => 1, "batch_size" => 8, pairs(more)...))
    go_on(kind, payload) = false
    # One round between a server and a client, as Python calls them.
    function deploy_once(config, data)
        text, client = _client_open(config, data[1:2], nothing)
        facts = JSON.json([merge(JSON.parse(text), Dict("client" => 1))])
        _, server = _server_open(config, facts, data[3:4], nothing, nothing)
        _, messages, arrays = _server_next(server)
        _, reply, _, _ = _client_answer(client, messages[1], arrays, UInt8[])
        _server_receive(server, 1, reply, nothing, nothing)
        _server_next(server)
        _server_result(server)
    end
    @compile_workload begin
        _pyrun(config(), data, nothing, nothing, go_on)
        short = config(; dataset = "digits", local_steps = 1)
        _pyrun(short, nothing, nothing, nothing, go_on)
        noise = Dict("noise_multiplier" => 1.0, "sampling_rate" => 0.1, "steps" => 1,
            "delta" => 1e-5, "sampling" => "poisson")
        foreach(("rdp", "pld")) do accountant
            _pyepsilon(JSON.json(merge(noise, Dict("accountant" => accountant))))
        end
        deploy_once(config(; local_steps = 1), data)
        combine_updates(SecureMean(), [Update(; delta = zeros(Float32, 3)) for _ = 1:3])
    end
end

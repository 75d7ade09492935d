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
        noise = Dict("noise_multiplier" => 1.0, "sampling_rate" => 0.1, "steps" => 1,
            "delta" => 1e-5, "sampling" => "poisson")
        foreach(("rdp", "pld")) do accountant
            _pyepsilon(JSON.json(merge(noise, Dict("accountant" => accountant))))
        end
        combine_updates(SecureMean(), [Update(; delta = zeros(Float32, 3)) for _ = 1:3])
    end
end

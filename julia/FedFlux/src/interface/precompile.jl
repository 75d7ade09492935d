# The default path, compiled when the package is installed: what `fedflux.run()` needs for its first round.
@setup_workload begin
    x = rand(Float32, 8, 8, 1, 24)
    y = repeat(0:9, 3)[1:24]
    config(; more...) = JSON.json(Dict("clients" => 2, "rounds" => 1, "batch_size" => 8, pairs(more)...))
    @compile_workload begin
        _pyrun(config(), (x, y, x, y), nothing, nothing, (kind, payload) -> false)
        _pyrun(config(; dataset = "digits", local_steps = 1), nothing, nothing, nothing, (kind, payload) -> false)
    end
end

# The first round of a run, compiled when the package is installed: with the named models,
# as Python and as Julia ask for it, and the tiles of the usual sizes of a batch; the usual
# layers on Zygote; a round of a deployment; and the parties of secure aggregation, which
# take long to compile.
@setup_workload begin
    # Python sends all options. JSON writes TOML's empty lists, of no type, as objects.
    plain(v) = v isa AbstractVector ? collect(Any, v) : v
    usual = Dict{String,Any}(
        name => plain(o["default"])
        for (name, o) in DECLARED_OPTIONS if haskey(o, "default")
    )
    config(; more...) = JSON.json(
        merge(usual,
            Dict("rounds" => 1, "clients" => 2, "batch_size" => 8),
            Dict(string(name) => value for (name, value) in more))
    )
    # A mistake here would only show as slow starts.
    function run_once(config, data)
        text, _ = _pyrun(config, data, nothing, nothing, (kind, payload) -> false)
        startswith(text, "{\"error\"") && @warn "the precompilation's run failed: $text"
    end
    y = repeat(Int32.(0:9), 3)[1:24]
    images(side) = (x = rand(Float32, side, side, 1, 24); (x, y, x, y))
    tokens = rand(Int32(0):Int32(9), 5, 24)
    texts = (tokens .+ Int32(1), tokens, tokens .+ Int32(1), tokens)
    play = tempname()
    write(play, join(("$role:\n" * "a line\n"^200 for role in ("A", "B")), "\n"))
    steps(model, dims, n) = begin
        e = LayerEngine(model, CrossEntropy(), dims, n)
        x = rand(Float32, dims..., n)
        valgrad!(e, zeros32(nparams(e)), zeros32(nparams(e)), x, zeros(Int32, n))
    end
    conv(sizes, σ = identity; bias = false) = Conv((3, 3), sizes, σ; pad = 1, bias)
    residual = Chain(conv(1 => 8, relu; bias = true), MaxPool((2, 2)),
        SkipConnection(
            Chain(conv(8 => 8), GroupNorm(8, 2, relu), conv(8 => 8), BatchNorm(8)), +),
        relu, GlobalMeanPool(), Flux.flatten, Dropout(0.1), Dense(8 => 10))
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
        run_once(config(), images(8))
        for model in ("case_study_cnn", "mlp", "softmax_regression")
            short = config(; dataset = "digits", model, local_steps = 1)
            run_once(short, nothing)
            run(; dataset = "digits", model, rounds = 1, clients = 2, local_steps = 1)
        end
        for model in ("lenet", "mcmahan_cnn")
            run_once(config(; model), images(28))
        end
        for model in ("rnn", "gru", "lstm")
            run_once(config(; model), texts)
        end
        run_once(config(; model = "transformer", embedding = 64), texts)
        for model in ("resnet8", "mobilenet_small")
            run_once(config(; model), images(8))
        end
        # A model of one's own; steps of the others compile what is left of it.
        for trainer in (:fast, :zygote)
            run(; dataset = "digits", model = residual, rounds = 1, clients = 2,
                local_steps = 1, trainer)
        end
        for model in ("mlp", "lenet")
            run_once(config(; model, trainer = "zygote"), images(28))
        end
        run_once(config(; model = "rnn", dataset = "shakespeare:$play"), nothing)
        for n in (1, 8, 10, 16, 20, 32, 50, 64, 100)
            for model in (case_study_cnn(), lenet(), mcmahan_cnn(), mlp(784))
                steps(model, (28, 28, 1), n)
            end
            n in (10, 32) && steps(resnet8(), (32, 32, 3), n)
        end
        noise = Dict("noise_multiplier" => 1.0, "sampling_rate" => 0.1, "steps" => 1,
            "delta" => 1e-5, "sampling" => "poisson")
        foreach(("rdp", "pld")) do accountant
            _pyepsilon(JSON.json(merge(noise, Dict("accountant" => accountant))))
        end
        deploy_once(config(; local_steps = 1), images(8))
        combine_updates(SecureMean(), [Update(; delta = zeros(Float32, 3)) for _ = 1:3])
    end
end

# Every option changes something in a run, or a warning says that it doesn't, and is right.

# For each option that decides numbers, a value that it does not have by default.
const OTHER_VALUE = Dict{Symbol,Any}(:mean => 0.1, :std => 2, :tokens => "word",
    :window => 7, :vocabulary => 7, :min_characters => 7, :normalise => "federated",
    :augment => "flip", :partition => "iid", :client_test => 0.3,
    :validation => 0.3, :client_validation => 0.3, :monitor => "auc",
    :freeze => ["layers.2.bias"],
    :clients => 5, :clients_per_round => 2, :sampling => "poisson(rate=0.4)",
    :availability => "random(p=0.5)", :aggregate => "median", :weights => "uniform",
    :rules => "fedprox(mu=1)", :server => "fedavgm", :download => "quantize(bits=4)",
    :server_schedule => "step(every=1, factor=0.5)", :finetune_epochs => 1,
    :membership => 5, :metrics => ["f1"], :baselines => ["local"], :model => "mlp",
    :hidden => [3],
    :embedding => 3, :loss => "mse", :class_weights => [1, 2, 3],
    :label_smoothing => 0.2, :huber_delta => 0.01, :local_epochs => 2,
    :local_steps => 1,
    :samples_per_epoch => 3, :batch_size => 3, :lr => 0.2,
    :schedule => "step(every=1, factor=0.5)", :optimizer => "adam", :momentum => 0.5,
    :keep_optimizer => true,
    :seed => 1, :faults => "crash(p=0.5)", :deadline => 0.5, :overselect => 2,
    :min_updates => 7, :attack => "sign_flip", :attackers => 3, :attacker_list =>
        [2, 5])

# The trainer changes last digits, and not by intention.
decides(name) =
    name != "trainer" && !get(FedFlux.DECLARED_OPTIONS[name], "resumable", false)

@testset "every option that decides numbers is tried" begin
    @test keys(OTHER_VALUE) ==
          Set(Symbol(name) for name in keys(FedFlux.DECLARED_OPTIONS) if decides(name))
end

"The options that decide who takes part in a round, and how it is aggregated."
const OF_A_ROUND = (:clients_per_round, :sampling, :availability, :weights, :faults,
    :deadline, :overselect, :min_updates)

# What other options are tried beside.
const BESIDE = Any[(;)=>keys(OTHER_VALUE),
    (; rules = "fedbuff(concurrency=3)", clients_per_round = 3)=>OF_A_ROUND,
    (; sampling = "poisson(rate=0.6)")=>OF_A_ROUND,
    (; sampling = "poisson(rate=0.9)", overselect = 2)=>(:clients_per_round,),
    (;
        sampling = "poisson(rate=0.6)",
        rules = "fedbuff(concurrency=3)"
    )=>(
        :clients_per_round,),
    (; clients_per_round = 3, faults = "delay(mean=1)")=>OF_A_ROUND,
    (; clients_per_round = 3, faults = "crash(p=0.2)")=>OF_A_ROUND,
    (; optimizer = "momentum")=>(:momentum, :keep_optimizer),
    (; model = "mlp")=>(:hidden,),
    (; loss = "huber")=>(:huber_delta, :class_weights, :label_smoothing)]
for aggregate in ("median", "trimmed_mean(fraction=0.3)", "krum(f=1)", "multi_krum(f=1)",
    "bulyan(f=0)", "geometric_median", "norm_clipping", "centered_clipping",
    "fltrust(root=10)", "secure")
    push!(BESIDE, (; aggregate) => (:weights,))
end
for rules in ("fedprox", "scaffold", "fednova", "feddyn", "fedsgd", "qffl(q=1)",
    "afl(lr=0.05)")
    push!(BESIDE, (; rules) => (:weights, :local_epochs))
end

@testset "an option changes a run, or a warning says that it doesn't" begin
    rng = Xoshiro(9)
    y = rand(rng, 0:2, 65)
    x = randn(rng, Float32, 4, 4, 65) .+ reshape(y, 1, 1, :)
    data = Dataset(x, y, x[:, :, 1:20], y[1:20])
    function tried(options)
        try
            r = FedFlux.Logging.with_logger(FedFlux.Logging.NullLogger()) do
                FedFlux.run(; dataset = data, clients = 6, rounds = 2, lr = 0.1,
                    batch_size = 4, model = "softmax_regression",
                    partition = "dirichlet(alpha=2)", options...)
            end
            untimed(record) = [
                f => getfield(record, f) for f in fieldnames(Record)
                if !startswith(string(f), "seconds_") || f === :seconds_simulated
            ]
            facts = (r.params_sha256, map(untimed, r.history), r.clients,
                r.finetuned_accuracy, r.baselines)
            return repr(facts), r.warnings
        catch err
            err isa FedFluxError || rethrow()
            return nothing, String[]
        end
    end
    wrong = String[]
    for (beside, names) in BESIDE
        before, _ = tried(beside)
        @test (beside, before === nothing) == (beside, false)
        for name in names
            haskey(beside, name) && continue
            after, warnings = tried((; beside..., name => OTHER_VALUE[name]))
            after === nothing && continue       # refused
            warned = any(startswith("$name has no effect"), warnings)
            warned == (before == after) ||
                push!(wrong, "$name beside $beside: warned is $warned")
        end
    end
    @test wrong == String[]
end

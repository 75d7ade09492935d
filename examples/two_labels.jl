# Every algorithm where it is hard: ten clients that hold two labels each (client i has i and i + 1), the case-study CNN, 30 rounds
# of one local epoch, batches of 32, learning rate 0.05. Prints the table of docs/algorithms.md, over three seeds.
#
#     julia --project=julia/FedFlux -t auto examples/two_labels.jl [path.npz] [rounds]
#
# Without a path it takes MNIST where it is cached or can be downloaded, else digits.
using FedFlux, Printf, Statistics

const SEEDS = 0:2

algorithms(rounds) = ["FedAvg" => (;),
    "FedProx" => (; rules = "fedprox(mu=0.01)"),
    "SCAFFOLD" => (; rules = "scaffold"),
    "FedAvg, lr 0.03" => (; lr = 0.03),
    "SCAFFOLD, lr 0.03" => (; rules = "scaffold", lr = 0.03),
    "FedNova" => (; rules = "fednova"),
    "FedDyn" => (; rules = "feddyn(alpha=0.1)"),
    "FedSGD" => (; rules = "fedsgd"),
    "q-FFL" => (; rules = "qffl(q=1)"),
    "AFL" => (; rules = "afl(lr=0.1)"),
    "FedBuff" => (; rules = "fedbuff(concurrency=4)", clients_per_round = 2, rounds = 5rounds, eval_every = 5rounds, weights = "uniform"),
    "FedAvgM" => (; server = "fedavgm(lr=1, momentum=0.9)"),
    "FedAdagrad" => (; server = "fedadagrad(lr=0.1)"),
    "FedAdam" => (; server = "fedadam(lr=0.01)"),
    "FedYogi" => (; server = "fedyogi(lr=0.01)"),
    "Ditto" => (; rules = "ditto(lam=0.1)"),
    "FedPer" => (; rules = "fedper(head=1)"),
    "FedRep" => (; rules = "fedrep(head_epochs=1)")]

written(options) = join(["$name = $(repr(value))" for (name, value) in pairs(options) if name in (:rules, :server, :clients_per_round, :lr)], ", ")

percent(values) = any(isnothing, values) ? "" :
    @sprintf("%.1f (%.1f–%.1f)", 100 * mean(values), 100 * minimum(values), 100 * maximum(values))

function table(dataset, rounds)
    common = (; dataset, partition = "labels(k=2)", clients = 10, rounds, local_epochs = 1, batch_size = 32, lr = 0.05)
    println("| algorithm | options | accuracy % | personal % |\n| --- | --- | --- | --- |")
    for (name, options) in algorithms(rounds)
        ends = [last(FedFlux.run(; common..., options..., seed).history) for seed in SEEDS]
        row(name, "`$(written(options))`", [r.accuracy for r in ends], [r.personal_accuracy for r in ends])
    end
    ends = [FedFlux.run(; common..., seed, finetune_epochs = 1, baselines = ["centralized", "local"]) for seed in SEEDS]
    row("FedAvg, fine-tuned", "`finetune_epochs = 1`", [last(r.history).accuracy for r in ends], [r.finetuned_accuracy for r in ends])
    for name in ("centralized", "local")
        row("$name (no federation)", "`baselines = [$(repr(name))]`", [r.baselines[name].accuracy for r in ends],
            [get(r.baselines[name], :personal_accuracy, nothing) for r in ends])
    end
end

row(name, options, accuracies, personal) =
    (println("| ", name, " | ", options == "``" ? "" : options, " | ", percent(accuracies), " | ", percent(personal), " |"); flush(stdout))

table(isempty(ARGS) ? "auto" : ARGS[1], length(ARGS) < 2 ? 30 : parse(Int, ARGS[2]))

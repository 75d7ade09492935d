# Every algorithm under strong label skew: ten clients with two labels each (client i has i
# and i + 1), the case-study CNN, 30 rounds of one local epoch, batches of 32, learning rate
# 0.05. Prints the table of docs/algorithms.md, over three seeds.
#
#     julia --project=julia/FedFlux -t auto examples/two_labels.jl [path.npz] [rounds]
#
# Without a path it uses MNIST if it is cached or can be downloaded, else digits.
using FedFlux, Printf, Statistics

const SEEDS = 0:2

algorithms(rounds) = [
    "FedAvg" => (;),
    "FedProx" => (; rules = "fedprox(mu=0.01)"),
    "SCAFFOLD" => (; rules = "scaffold"),
    "FedAvg, lr 0.03" => (; lr = 0.03),
    "SCAFFOLD, lr 0.03" => (; rules = "scaffold", lr = 0.03),
    "FedNova" => (; rules = "fednova"),
    "FedDyn" => (; rules = "feddyn(alpha=0.1)"),
    "FedSGD" => (; rules = "fedsgd"),
    "q-FFL" => (; rules = "qffl(q=1)"),
    "AFL" => (; rules = "afl(lr=0.1)"),
    "FedBuff" => (;
        rules = "fedbuff(concurrency=4)",
        clients_per_round = 2,
        rounds = 5rounds,
        eval_every = 5rounds,
        weights = "uniform"
    ),
    "FedAvgM" => (; server = "fedavgm(lr=1, momentum=0.9)"),
    "FedAdagrad" => (; server = "fedadagrad(lr=0.1)"),
    "FedAdam" => (; server = "fedadam(lr=0.01)"),
    "FedYogi" => (; server = "fedyogi(lr=0.01)"),
    "Ditto" => (; rules = "ditto(lam=0.1)"),
    "FedPer" => (; rules = "fedper(head=1)"),
    "FedRep" => (; rules = "fedrep(head_epochs=1)")
]

"The options of an algorithm, as the table shows them."
function written(options)
    shown = filter(in((:rules, :server, :clients_per_round, :lr)), keys(options))
    return join(["$name = $(repr(options[name]))" for name in shown], ", ")
end

"The mean of the values and their range, in percent."
function percent(values)
    any(isnothing, values) && return ""
    low, high = extrema(values)
    return @sprintf("%.1f (%.1f–%.1f)", 100 * mean(values), 100 * low, 100 * high)
end

function row(name, options, accuracies, personal)
    options = options == "``" ? "" : options
    cells = (name, options, percent(accuracies), percent(personal))
    println("| ", join(cells, " | "), " |")
    flush(stdout)
end

function table(dataset, rounds)
    common = (;
        dataset,
        partition = "labels(k=2)",
        clients = 10,
        rounds,
        local_epochs = 1,
        batch_size = 32,
        lr = 0.05
    )
    println("| algorithm | options | accuracy % | personal % |\n| --- | --- | --- | --- |")
    for (name, options) in algorithms(rounds)
        ends = [last(FedFlux.run(; common..., options..., seed).history) for seed in SEEDS]
        accuracies = [r.accuracy for r in ends]
        row(name, "`$(written(options))`", accuracies, [r.personal_accuracy for r in ends])
    end
    extras = (; finetune_epochs = 1, baselines = ["centralized", "local"])
    results = [FedFlux.run(; common..., extras..., seed) for seed in SEEDS]
    accuracies = [last(r.history).accuracy for r in results]
    finetuned = [r.finetuned_accuracy for r in results]
    row("FedAvg, fine-tuned", "`finetune_epochs = 1`", accuracies, finetuned)
    for name in extras.baselines
        accuracies = [r.baselines[name].accuracy for r in results]
        personal = [get(r.baselines[name], :personal_accuracy, nothing) for r in results]
        row("$name (no federation)", "`baselines = [$(repr(name))]`", accuracies, personal)
    end
end

table(isempty(ARGS) ? "auto" : ARGS[1], length(ARGS) < 2 ? 30 : parse(Int, ARGS[2]))

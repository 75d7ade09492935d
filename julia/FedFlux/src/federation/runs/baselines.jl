# What federation is compared with: each client alone, and all data in one place.

"""
    local_baseline(pool, f, clients, rounds, test, counts)
        -> (; accuracy, personal_accuracy)

Each client alone, from the initial model, for as many epochs as `rounds` rounds have: the
means over the clients of the accuracy on all test data, and of that at each client's own
mix of labels.
"""
function local_baseline(pool, f::Federated, clients, rounds, test, counts)
    st, ks = State(f, engine(pool)), 1:length(clients)
    all_samples(k) = 1:numobs(test[2])
    evaluations = evaluate_own(pool, f, ks, test, size(counts, 1), all_samples) do worker, k
        put_personal!(worker, f, st, k)
        for round = 1:rounds
            t = at_round(f.train, round)
            train_alone!(worker, f, clients, k, round, t, pool.control)
        end
    end
    return (; accuracy = mean_or_nothing(map(accuracy, evaluations)),
        personal_accuracy = mean_own(evaluations, ks, counts))
end

"""
    centralized_baseline(pool, f, clients, rounds, test) -> (; accuracy, test_loss)

All data in one place: one client that holds everything, for as many epochs as `rounds`
rounds have, without rules and server optimizer.
"""
function centralized_baseline(pool, f::Federated, clients, rounds, test)
    # As many steps and samples per round as all clients have together.
    N = length(clients)
    times(n) = n > typemax(Int) ÷ N ? typemax(Int) : N * n
    train = LocalTraining(f.train; maxsteps = times(f.train.maxsteps),
        samples_per_epoch = times(f.train.samples_per_epoch))
    all_data = Clients(clients.x, clients.y, [clients.order])
    central = Federated(f.model; f.loss, train, f.trainer, f.seed, freeze = f.layout.frozen)
    st = State(central, engine(pool))
    _, history, _ = fit!(central, st, all_data; rounds, test, eval_every = rounds, pool)
    return (; last(history).accuracy, last(history).test_loss)
end

# Models of the clients' own: how good each is for its client, and fine-tuning.

"""
    evaluate_own(put!, pool, f, ks, test, nclasses, samples) -> Vector{Evaluation}

For each client k of `ks` an [`Evaluation`](@ref) of its own model on the test samples
`samples(k)`. `put!(worker, k)` puts that model into `worker.w` and `worker.stats`. The
pool's threads share the clients.
"""
function evaluate_own(put!, pool::WorkerPool, f::Federated, ks, test, nclasses, samples)
    x, y = test
    evaluations = Vector{Evaluation}(undef, length(ks))
    in_pool(pool, length(ks)) do worker, j
        put!(worker, ks[j])
        setstats!(worker.engine, worker.stats)
        right, total, idx = zeros(Int, nclasses), zeros(Int, nclasses), samples(ks[j])
        loss = evaluate_batch!(right, total, worker.engine, f.loss, worker.w, x, y, idx)
        evaluations[j] = Evaluation(loss / length(idx), right, total)
    end
    return evaluations
end

"""
For each client the test samples of the classes that it holds; all of them if a sample
has many labels.
"""
function own_samples(y, counts)
    y isa AbstractVector || return k -> 1:numobs(y)
    by_class = [findall(==(c - 1), y) for c in axes(counts, 1)]
    return k -> concatenated(Int, by_class[counts[:, k] .> 0])
end

"""
The mean over the clients `ks` of the accuracy of each one's model at its own mix of labels.
"""
function own_accuracy(put!, pool, f, ks, test, counts)
    samples = own_samples(test[2], counts)
    evaluations = evaluate_own(put!, pool, f, ks, test, size(counts, 1), samples)
    return mean_own(evaluations, ks, counts)
end

mean_own(evaluations, ks, counts) =
    mean_or_nothing(
        concatenated(
            Float64,
            client_accuracies(e, counts[:, [k]]) for (e, k) in zip(evaluations, ks)
        )
    )
mean_or_nothing(v) = isempty(v) ? nothing : sum(v) / length(v)

"""
Put the model that client k would use into the worker: its personal one, or the global one.
"""
function put_personal!(worker::Worker, f::Federated, st::State, k)
    copyto!(worker.w, st.θ)
    copyto!(worker.stats, st.stats)
    haskey(st.private, k) &&
        personal!(f.rules, st.shared, st.private[k], (; worker.w, worker.stats))
    return worker
end

"""
The mean accuracy of the personal models of the clients `ks`, or `nothing` if no rule
personalises.
"""
function personal_accuracy(pool, f::Federated, st::State, ks, test, counts)
    personalises(f.rules) && !isempty(ks) || return nothing
    return own_accuracy(pool, f, ks, test, counts) do worker, k
        put_personal!(worker, f, st, k)
    end
end

"""
Train the worker's model on client k's data alone, by the local training `t`, without rules.
"""
train_alone!(worker::Worker, f, clients, k, round, t::LocalTraining, control) =
    train_alone!(worker, f, clients, indices(clients, k), t,
        Stream(f.seed, :personal, round, k), round, k, control)

"""
    finetuned_accuracy(pool, f, st, clients, epochs, test, counts)

The mean accuracy of the clients' models, each at its own mix of labels, after each client
has trained the final model (its personal one, if a rule has that) for `epochs` more on
its own data.
"""
finetuned_accuracy(pool, f::Federated, st::State, clients, epochs, test, counts) =
    own_accuracy(finetuner(pool, f, st, clients, epochs), pool, f, 1:length(clients), test,
        counts)

"What puts a client's model, trained for `epochs` more on its own data, into a worker."
function finetuner(pool, f::Federated, st::State, clients, epochs)
    # At the full learning rate: the schedule belongs to the rounds, and may have reached 0.
    t = LocalTraining(f.train; epochs = max(epochs, 1), maxsteps = typemax(Int))
    return (worker, k) -> begin
        put_personal!(worker, f, st, k)
        epochs > 0 && train_alone!(worker, f, clients, k, st.round + 1, t, pool.control)
    end
end

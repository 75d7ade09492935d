# Models of the clients' own: how good each is for its client; fine-tuning; and what each client could do alone.

"""
    evaluate_own(put!, crew, f, ks, test, samples) -> Vector{Evaluation}

For each client k of `ks` an [`Evaluation`](@ref) of its own model on the test samples `samples(k)`. `put!(worker, k)` puts that model
into `worker.w` and `worker.stats`. Clients are shared among the crew's threads.
"""
function evaluate_own(put!, crew::Crew, f::Federated, ks, test, nclasses, samples)
    x, y = test
    evaluations = Vector{Evaluation}(undef, length(ks))
    next = Threads.Atomic{Int}(1)
    in_parallel(min(length(crew.workers), length(ks)), crew.control, crew.tick) do i
        worker = crew.workers[i]
        while (j = Threads.atomic_add!(next, 1)) <= length(ks) && !stopping(crew.control)
            put!(worker, ks[j])
            setstats!(worker.engine, worker.stats)
            right, total, idx = zeros(Int, nclasses), zeros(Int, nclasses), samples(ks[j])
            loss = evaluate_batch!(right, total, worker.engine, f.loss, worker.w, x, y, idx)
            evaluations[j] = Evaluation(loss / length(idx), right, total)
        end
    end
    return evaluations
end

"For each client the test samples of the classes that it holds; all of them where a sample has many labels."
function own_samples(y, counts)
    y isa AbstractVector || return k -> 1:numobs(y)
    byclass = [findall(==(c - 1), y) for c in axes(counts, 1)]
    return k -> reduce(vcat, byclass[counts[:, k].>0])
end

"The mean over the clients `ks` of the accuracy of each one's own model at its own mix of labels."
function own_accuracy(put!, crew, f, ks, test, counts)
    evaluations = evaluate_own(put!, crew, f, ks, test, size(counts, 1), own_samples(test[2], counts))
    return mean_own(evaluations, ks, counts)
end

mean_own(evaluations, ks, counts) = mean_or_nothing(reduce(vcat, client_accuracies(e, counts[:, [k]]) for (e, k) in zip(evaluations, ks)))
mean_or_nothing(v) = isempty(v) ? nothing : sum(v) / length(v)

"Put the model that client k would use itself into the worker: the rules' personal model, or the global one."
function put_personal!(worker::Worker, f::Federated, st::State, k)
    copyto!(worker.w, st.θ)
    copyto!(worker.stats, st.stats)
    haskey(st.private, k) && personal!(f.rules, st.private[k], (; worker.w, worker.stats))
    return worker
end

"The mean accuracy of the personal models of the clients `ks`, or `nothing` where no rule personalises."
personal_accuracy(crew, f::Federated, st::State, ks, test, counts) =
    personalises(f.rules) && !isempty(ks) ? own_accuracy((worker, k) -> put_personal!(worker, f, st, k), crew, f, ks, test, counts) : nothing

"Train the worker's model on client k's data alone for some epochs, by the local training of that round, without rules."
function train_alone!(worker::Worker, f::Federated, clients, k, round, epochs, control)
    (; engine, order, stats) = worker
    t = LocalTraining(scheduled(f.train.optimizer, f.schedule, round); epochs, f.train.batchsize, f.train.samples)
    copyto!(resize!(order, nsamples(clients, k)), indices(clients, k))
    reseed!(engine, Stream(f.seed, :dropout, round, k))
    reseed!(worker.augmenter, Stream(f.seed, :augment, round, k))
    setstats!(engine, stats)
    localfit!(worker, (), (; shared = (), private = ()), clients.x, clients.y, t, Stream(f.seed, :personal, round, k),
              (; steps = nsteps(t, length(order))), control)
    stats!(stats, engine)
    return worker
end

"""
    finetuned_accuracy(crew, f, st, clients, epochs, test, counts)

The mean accuracy of the clients' models when each trains the final model (its personal one, where a rule has that) for `epochs`
more on its own data, at its own mix of labels.
"""
finetuned_accuracy(crew, f::Federated, st::State, clients, epochs, test, counts) =
    own_accuracy(crew, f, 1:length(clients), test, counts) do worker, k
        train_alone!(put_personal!(worker, f, st, k), f, clients, k, st.round + 1, epochs, crew.control)
    end

"""
    local_baseline(crew, f, clients, rounds, test, counts) -> (; accuracy, personal_accuracy)

Each client alone, from the initial model, for as many epochs as `rounds` rounds have: the means over clients of the accuracy on
all test data, and of that at each one's own mix of labels.
"""
function local_baseline(crew, f::Federated, clients, rounds, test, counts)
    st, ks = State(f, engine(crew)), 1:length(clients)
    evaluations = evaluate_own(crew, f, ks, test, size(counts, 1), k -> 1:numobs(test[2])) do worker, k
        put_personal!(worker, f, st, k)
        foreach(round -> train_alone!(worker, f, clients, k, round, f.train.epochs, crew.control), 1:rounds)
    end
    return (; accuracy = mean_or_nothing(map(accuracy, evaluations)), personal_accuracy = mean_own(evaluations, ks, counts))
end

"""
    centralized_baseline(crew, f, clients, rounds, test) -> (; accuracy, test_loss)

All data in one place: one client that holds it all, for as many epochs as `rounds` rounds have, without rules and server's step.
"""
function centralized_baseline(crew, f::Federated, clients, rounds, test)
    (; epochs, batchsize, optimizer) = f.train
    all_data = Clients(clients.x, clients.y, [clients.order])
    central = Federated(f.model; f.loss, optimizer, epochs, batchsize, f.augment, f.schedule, f.trainer, f.seed)
    _, history, _ = fit!(central, State(central, engine(crew)), all_data; rounds, test, eval_every = rounds, crew)
    return (; last(history).accuracy, last(history).test_loss)
end

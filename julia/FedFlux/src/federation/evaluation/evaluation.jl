# The global model on the test data: its loss and accuracy, and its accuracy per client.

"""
The loss (mean over the samples), and for each class the number of samples and of right
answers.
"""
struct Evaluation
    loss::Float64
    right::Vector{Int}
    total::Vector{Int}
end

"The fraction of right answers, or `nothing` if there are no classes."
accuracy(e::Evaluation) = sum(e.total) == 0 ? nothing : sum(e.right) / sum(e.total)

"""
    evaluate(pool, f, θ, stats, x, y, nclasses) -> Evaluation

Loss and right answers of the parameters `θ` on the test data, in batches over the pool's
threads. Batches are summed in order, so the result doesn't depend on the threads.
"""
function evaluate(pool::WorkerPool, f::Federated, θ, stats, x, y, nclasses)
    n = numobs(x)
    starts = 1:EVAL_BATCH:n
    losses = zeros(length(starts))
    right = zeros(Int, nclasses, length(starts))
    total = zeros(Int, nclasses, length(starts))
    foreach(worker -> setstats!(worker.engine, stats), pool.workers)
    in_pool(pool, length(starts)) do worker, b
        idx = starts[b]:min(starts[b]+EVAL_BATCH-1, n)
        losses[b] = evaluate_batch!(view(right, :, b), view(total, :, b), worker.engine,
            f.loss, θ, x, y, idx)
    end
    return Evaluation(sum(losses) / n, vec(sum(right; dims = 2)), vec(sum(total; dims = 2)))
end

evaluate_batch!(right, total, e, loss, θ, x, y, idx) =
    sumloss(e, loss, θ, x, y, idx) do ŷ, labels
        count_right!(right, total, loss, ŷ, labels)
    end

"""
The outputs of the model with the parameters `θ` for all samples of `x`, in batches over
the pool's threads. `y` are their targets.
"""
function outputs_of(pool::WorkerPool, f::Federated, θ, stats, x, y)
    foreach(worker -> setstats!(worker.engine, stats), pool.workers)
    size_of_batch = min(EVAL_BATCH, maxbatch(engine(pool)))
    batches = collect(Iterators.partition(1:numobs(x), size_of_batch))
    parts = Vector{Any}(undef, length(batches))
    in_pool(pool, length(batches)) do worker, b
        xb, _ = batch(worker.engine, x, y, batches[b])
        parts[b] = Array(predict(worker.engine, θ, xb))
    end
    return join_last(parts)
end

"""
    client_accuracies(e::Evaluation, counts)

For each client the accuracy on test data with the client's own mix of labels: the accuracy
of each class, weighted by the client's share of it. `counts` is (nclasses, clients), from
[`labelcounts`](@ref). A class without test data is left out. A client with no other class
gets no figure.
"""
function client_accuracies(e::Evaluation, counts)
    seen = findall(>(0), e.total)
    per_class = e.right[seen] ./ e.total[seen]
    weights = counts[seen, :]
    held = vec(sum(weights; dims = 1))
    return [
        sum(weights[:, k] .* per_class) / held[k]
        for k in axes(counts, 2) if held[k] > 0
    ]
end

"The number of classes that right answers in the test data are counted for; 0: none are."
counted_in_test(f, test, clients) =
    test === nothing ? 0 :
    max(counted_classes(f.loss, test[2]), counted_classes(f.loss, clients.y))

"The number of classes that accuracy is measured over; 0 without test data or classes."
test_classes(f, test, clients) =
    test === nothing ? 0 : max(classes(f.loss, test[2]), classes(f.loss, clients.y))

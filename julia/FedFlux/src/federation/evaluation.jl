# The global model on the test data.

"Loss (mean over samples), and for each class how many samples there are and how many were right."
struct Evaluation
    loss::Float64
    right::Vector{Int}
    total::Vector{Int}
end

"The fraction of right answers, or `nothing` where there are no classes."
accuracy(e::Evaluation) = sum(e.total) == 0 ? nothing : sum(e.right) / sum(e.total)

const EVAL_BATCH = 256

"""
    evaluate(crew, f, θ, stats, x, y, nclasses) -> Evaluation

Loss and right answers of the parameters `θ` on the test data, batched over the crew's threads. Batches are added up in
their order, so the result doesn't depend on the threads.
"""
function evaluate(crew::Crew, f::Federated, θ, stats, x, y, nclasses)
    n = numobs(x)
    starts = 1:EVAL_BATCH:n
    losses = zeros(length(starts))
    right, total = zeros(Int, nclasses, length(starts)), zeros(Int, nclasses, length(starts))
    next = Threads.Atomic{Int}(1)
    in_parallel(min(length(crew.workers), length(starts)), crew.control, crew.tick) do i
        e = crew.workers[i].engine
        setstats!(e, stats)
        while (b = Threads.atomic_add!(next, 1)) <= length(starts) && !stopping(crew.control)
            idx = starts[b]:min(starts[b] + EVAL_BATCH - 1, n)
            losses[b] = evaluate_batch!(view(right, :, b), view(total, :, b), e, f.loss, θ, x, y, idx)
        end
    end
    return Evaluation(sum(losses) / n, vec(sum(right; dims = 2)), vec(sum(total; dims = 2)))
end

evaluate_batch!(right, total, e, loss, θ, x, y, idx) =
    sumloss((ŷ, labels) -> count_right!(right, total, loss, ŷ, labels), e, loss, θ, x, y, idx)

"The sum of the losses of the samples `idx` under the parameters `θ`; calls `f(ŷ, labels)` with each batch of outputs."
function sumloss(f, e, loss, θ, x, y, idx)
    total = 0.0
    for part in Iterators.partition(idx, min(EVAL_BATCH, maxbatch(e)))
        xb, _ = batch(e, x, y, part)
        ŷ = predict(e, θ, xb)
        labels = getobs(y, part)
        total += Float64(loss(ŷ, labels)) * length(part)
        f(ŷ, labels)
    end
    return total
end

"""
    client_accuracies(e::Evaluation, counts)

For each client the accuracy on test data with the client's own mix of labels: the accuracy of each class, weighted by
the client's share of it. `counts` is (nclasses, clients), from [`labelcounts`](@ref). A class that the test data lacks is
left out; a client with no other class gets no figure.
"""
function client_accuracies(e::Evaluation, counts)
    seen = findall(>(0), e.total)
    perclass = e.right[seen] ./ e.total[seen]
    weights = counts[seen, :]
    held = vec(sum(weights; dims = 1))
    return [sum(weights[:, k] .* perclass) / held[k] for k in axes(counts, 2) if held[k] > 0]
end

"Minimum, quartiles and maximum, or `nothing` of nothing."
function spread(values)
    isempty(values) && return nothing
    q = quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0))
    return (; min = q[1], q1 = q[2], median = q[3], q3 = q[4], max = q[5])
end

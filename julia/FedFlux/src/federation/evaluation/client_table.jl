# What a run tells of each client: its samples, its rounds, and how well the models predict
# its own test data.

"""
    client_table(names, clients, history; own_test = nothing, figures = nothing,
                 personal = nothing, hidden = false) -> Vector of NamedTuples

A row for each client; empty for more than $MAX_CLIENTS_LISTED. `figures` and `personal` are
what [`own_figures`](@ref) gives; `hidden`: nobody may know who took part. Columns:

- `client`, its number; `name`, its owner, or the number if there are no owners;
- `samples` that it trains on; `test_samples` of its own; `rounds` in which its update was
  accepted (`nothing` if they are hidden);
- `loss` and `accuracy` of the final global model on its own test samples, and
  `personal_loss` and `personal_accuracy` of its own model, or `nothing` if there is none.
"""
function client_table(names, clients::Clients, history; own_test = nothing,
    figures = nothing, personal = nothing, hidden = false)
    n = length(clients)
    n <= MAX_CLIENTS_LISTED || return NamedTuple[]
    taken = hidden ? nothing : rounds_taken(history, n)
    figure(all, k, name) = all === nothing ? nothing : getfield(all[k], name)
    return map(1:n) do k
        (; client = k, name = names[k], samples = nsamples(clients, k),
            test_samples = own_test === nothing ? 0 : nsamples(own_test, k),
            rounds = taken === nothing ? nothing : taken[k],
            loss = figure(figures, k, :loss), accuracy = figure(figures, k, :accuracy),
            personal_loss = figure(personal, k, :loss),
            personal_accuracy = figure(personal, k, :accuracy))
    end
end

"For each of `n` clients the number of rounds in which its update was accepted."
function rounds_taken(history, n)
    taken = zeros(Int, n)
    for r in history
        failed = Iterators.filter(d -> d.reason != SENT_TWICE, [r.dropped; r.rejected])
        taken[setdiff(r.cohort, (d.client for d in failed))] .+= 1
    end
    return taken
end

"""
    own_figures(put!, pool, f, own_test) -> Vector of (; loss, accuracy)

How well each client's model predicts its own test samples; `put!(worker, k)` puts that
model into `worker.w` and `worker.stats`. Both are `nothing` for a client without test
samples, and the accuracy if there are no classes.
"""
function own_figures(put!, pool::WorkerPool, f::Federated, own_test::Clients)
    ks = [k for k = 1:length(own_test) if nsamples(own_test, k) > 0]
    test = (own_test.x, own_test.y)
    nclasses = counted_classes(f.loss, own_test.y)
    samples(k) = collect(indices(own_test, k))
    evaluations = evaluate_own(put!, pool, f, ks, test, nclasses, samples)
    none = (; loss = nothing, accuracy = nothing)
    figures = Any[none for _ = 1:length(own_test)]
    for (k, e) in zip(ks, evaluations)
        figures[k] = (; e.loss, accuracy = accuracy(e))
    end
    return figures
end

"Put the global model into a worker, for any client."
put_global!(worker::Worker, st::State) =
    (copyto!(worker.w, st.θ); copyto!(worker.stats, st.stats))

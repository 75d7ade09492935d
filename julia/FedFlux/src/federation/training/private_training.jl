# The local steps of DPSGD: batches by Poisson sampling, clipped sums, noise.

"""
    sampling_rate(batchsize, n)

The probability q with which each of a client's `n` examples enters a step.
"""
sampling_rate(batchsize, n) = min(1.0, batchsize / n)

"""
    example_mechanism(f, n) -> (; noise_multiplier, sampling_rate, steps)

What an accountant needs of one round of a client with `n` examples under [`DPSGD`](@ref):
so many steps of the Gaussian mechanism with this ratio of noise to clip, each on a Poisson
sample with this rate. `nothing` without that rule.
"""
function example_mechanism(f, n)
    r = example_privacy(f.rules)
    r === nothing && return nothing
    (; noise_multiplier) = r
    rate = sampling_rate(f.train.batchsize, n)
    return (; noise_multiplier, sampling_rate = rate, steps = nsteps(f.train, n))
end

"Throw for a model or a training whose examples can't be told apart."
function check_examples(rules, model, training, freeze)
    example_privacy(rules) === nothing && return
    reason = mixes_examples(model, freeze)
    reason === nothing || fail("rule DPSGD doesn't take this model: ", reason)
    mixes(training.augment) && fail("rule DPSGD clips the gradient of each example, ",
        "and augment mixup mixes them: leave out mixup")
end

"""
The largest batch that an engine is made for: a Poisson batch has more than B + 4√B
examples once in 30,000 steps, and is then computed in parts.
"""
largest_batch(::Nothing, batchsize) = batchsize
largest_batch(::DPSGD, batchsize) = batchsize + ceil(Int, 4 * sqrt(batchsize))

function local_steps!(r::DPSGD, worker::Worker, rules, s, x, y, t, rng, ctx, control, state)
    r.reproducible &&
        return noisy_steps!(r, rng, ctx.rng, worker, rules, s, x, y, t, ctx, control, state)
    # The batches must be as secret as the noise: the privacy of sampling rests on that.
    secret = SecureRandom()
    return noisy_steps!(r, secret, secret, worker, rules, s, x, y, t, ctx, control, state)
end

function noisy_steps!(r, draws, noise, worker, rules, s, x, y, t, ctx, control, state)
    (; engine, w, g, order) = worker
    n = length(order)
    expected, rate = min(t.batchsize, n), sampling_rate(t.batchsize, n)
    batch, part = sizehint!(Int[], largest_batch(r, expected)), similar(g)
    total, seen = 0.0, 0
    for step = 1:ctx.steps
        poisson_batch!(batch, order, rate, draws)
        total += clipped_sum!(r, worker, part, x, y, batch, expected)
        add_gaussian!(g, r.noise_multiplier * r.clip, noise)
        g ./= expected
        correct!(rules, s, g, w, (; ctx..., step, batch = expected))
        state = step!(t.optimizer, state, w, g)
        seen += length(batch)
        should_stop(control) && break
    end
    return total, seen, state
end

"Draw a batch: each sample of `order` is in it with probability `rate`."
function poisson_batch!(batch, order, rate, rng)
    empty!(batch)
    for k in order
        rand(rng, Float64) < rate && push!(batch, k)
    end
    return batch
end

"""
The sum of the clipped gradients of the samples `batch` in `worker.g`, zero for none;
returns the sum of their losses. `part` is another vector like `worker.g`.
"""
function clipped_sum!(r::DPSGD, worker::Worker, part, x, y, batch, expected)
    (; engine, w, g) = worker
    most = min(maxbatch(engine), largest_batch(r, expected))
    total = 0.0
    isempty(batch) && fill!(g, 0)
    for first = 1:most:length(batch)
        idx = view(batch, first:min(first+most-1, length(batch)))
        xb, yb = training_batch(worker.augmenter, engine, x, y, idx)
        sum = first == 1 ? g : part
        total += Float64(clipped_gradient!(engine, sum, w, xb, yb, r.clip)) * length(idx)
        first == 1 || (g .+= part)
    end
    return total
end

# The loss of many samples, in batches.

"The most samples whose outputs are computed at once if no gradient is wanted."
const EVAL_BATCH = 256

"""
The sum of the losses of the samples `idx` under the parameters `θ`; calls `f(ŷ, labels)`
with the outputs of each batch.
"""
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

# The fast engine's sum of clipped gradients: one forward and one backward pass, the norm of
# each example's gradient layer by layer, then the sum with the examples scaled.

function clipped_gradient!(e::LayerEngine, g, w, x, y, clip)
    foreach(check_separate, e.operations)
    n = stage!(e, x, y)
    isempty(e.examples) && resize!(e.examples, e.nexamples)
    GC.@preserve e w g begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp, gp = checked_pointer(e, w), checked_pointer(e, g)
        p = Pass(arena, pointer(e.examples), staged, wp, gp, stats, n, true)
        forward_all!(e.operations, p)
        loss = loss_gradient!(e.loss, p, e.output, e.gradient, at(p.staged, e.targets))
        # The gradient of each example's own loss, of which the batch's is the mean.
        scale_values!(address(p, e.gradient), Float32(n), features(e.gradient) * n)
        backpropagate_all!(e.operations, p)
        clip_examples!(e.operations, p, e.factors, clip)
        sum_finite!(e.operations, p, e.factors, e.nparams)
    end
    return loss
end

@inline backpropagate_all!(::Tuple{}, p) = nothing
@inline function backpropagate_all!(o::Tuple, p)
    backpropagate_all!(Base.tail(o), p)
    backpropagate!(first(o), p, 0, p.n - 1)
end

"Find each example's factor, and scale what its gradient is computed from."
function clip_examples!(operations, p::Pass, factors, clip)
    for n = 0:(p.n-1)
        factor = clip_factor(norm_all!(operations, p, n), clip)
        0 < factor < 1 && scale_all!(operations, p, n, factor)
        factors[n+1] = factor
    end
end

@inline norm_all!(::Tuple{}, p, n) = 0.0
@inline norm_all!(o::Tuple, p, n) =
    example_norm!(first(o), p, n) + norm_all!(Base.tail(o), p, n)

@inline scale_all!(::Tuple{}, p, n, factor) = nothing
@inline function scale_all!(o::Tuple, p, n, factor)
    scale_example!(first(o), p, n, factor)
    scale_all!(Base.tail(o), p, n, factor)
end

"""
Sum the gradients of the examples whose factor isn't zero, in runs of neighbours: the values
of the others may be NaN, and zero times NaN is no zero.
"""
function sum_finite!(operations, p::Pass, factors, nparams)
    lo, accumulate = 0, false
    while lo < p.n
        if factors[lo+1] > 0
            hi = lo
            while hi + 1 < p.n && factors[hi+2] > 0
                hi += 1
            end
            sum_all!(operations, p, factors, lo, hi, accumulate)
            lo, accumulate = hi, true
        end
        lo += 1
    end
    accumulate || zeros!(p.g, nparams)
    return nothing
end

@inline sum_all!(::Tuple{}, p, factors, lo, hi, accumulate) = nothing
@inline function sum_all!(o::Tuple, p, factors, lo, hi, accumulate)
    sum_examples!(first(o), p, factors, lo, hi, accumulate)
    sum_all!(Base.tail(o), p, factors, lo, hi, accumulate)
end

# The fast engine's sum of clipped gradients: one forward and one backward pass, the norm of
# each example's gradient layer by layer, then the sum with the examples scaled.

function clipped_gradient!(e::LayerEngine, g, w, x, y, clip)
    foreach(check_separate, e.operations)
    n = stage!(e, x, y)
    isempty(e.examples) && resize!(e.examples, e.nexamples)
    GC.@preserve e w g begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp, gp = checked_pointer(e, w), checked_pointer(e, g)
        p = e.pass[] = Pass(arena, pointer(e.examples), staged, wp, gp, stats, n, true)
        each_forward(forward!, e.operations, e.pass)
        loss = output_gradient!(e, p)
        # The gradient of each example's own loss, of which the batch's is the mean.
        scale_values!(address(p, e.gradient), Float32(n), features(e.gradient) * n)
        each_backward(backpropagate!, e.operations, e.pass)
        fill!(e.squares, 0.0)
        each_backward(add_norms!, e.operations, e.pass, e.squares)
        for i = 1:n
            e.factors[i] = clip_factor(e.squares[i], clip)
        end
        each_forward(scale_examples!, e.operations, e.pass, e.factors)
        each_forward(sum_finite!, e.operations, e.pass, e.factors)
        any(>(0), view(e.factors, 1:n)) || zeros!(p.g, e.nparams)
    end
    return loss
end

backpropagate!(o::Operation, pass::Ref{Pass}) = all_samples(backpropagate!, o, pass[])

"Add the squared norm of each example's gradient of the operation's parameters."
function add_norms!(o::Operation, pass::Ref{Pass}, squares)
    p = pass[]
    for n = 0:(p.n-1)
        squares[n+1] += example_norm!(o, p, n)
    end
end

"Scale what the gradients of the examples are computed from by their factors."
function scale_examples!(o::Operation, pass::Ref{Pass}, factors)
    p = pass[]
    for n = 0:(p.n-1)
        0 < factors[n+1] < 1 && scale_example!(o, p, n, factors[n+1])
    end
end

"""
Sum the gradients of the examples whose factor isn't zero, in runs of neighbors: the values
of the others may be NaN, and zero times NaN is no zero.
"""
function sum_finite!(o::Operation, pass::Ref{Pass}, factors)
    p = pass[]
    lo, accumulate = 0, false
    while lo < p.n
        if factors[lo+1] > 0
            hi = lo
            while hi + 1 < p.n && factors[hi+2] > 0
                hi += 1
            end
            sum_examples!(o, p, factors, lo, hi, accumulate)
            lo, accumulate = hi, true
        end
        lo += 1
    end
    return nothing
end

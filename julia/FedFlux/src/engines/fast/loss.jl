# The losses of models/losses.jl on the output buffer: the mean over the batch, and its
# gradient.

"The losses of the engine; a field of this type is dispatched on without an allocation."
const LayerLoss = Union{CrossEntropy,BinaryCrossEntropy,MSE}

"The number of target values per sample."
ntargets(::CrossEntropy, y::Buffer) = y.W * y.H
ntargets(::Union{BinaryCrossEntropy,MSE}, y::Buffer) = features(y)

"""
    loss_gradient!(loss, p, y, dy, targets)

Write the gradient of the batch's loss to `dy`; returns the loss. `targets` are in the
staging area, in the form that the loss needs.
"""
function loss_gradient!(::CrossEntropy, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32)
    n = columns(y, p.n)
    labels = Ptr{Int32}(targets)
    total = 0.0
    for j = 1:n
        c = (j - 1) * y.C
        x, dx = at(address(p, y), c), at(address(p, dy), c)
        total += cross_entropy!(dx, x, y.C, Int(unsafe_load(labels, j)), 1.0f0 / n)
    end
    return Float32(total / n)
end

"One column: `dx = (softmax(x) - onehot)·scale`; returns the loss."
function cross_entropy!(dx::Ptr32, x::Ptr32, C, label, scale)
    top = largest_logit(x, C)
    each_vector(Val(16), C) do i, width, mask
        store(fastexp(load(width, at(x, i), mask) - top), at(dx, i), mask)
    end
    # In Float64: the loss of a confident right answer is how much this sum exceeds 1.
    sum = 0.0
    for i = 1:C
        sum += unsafe_load(dx, i)
    end
    factor = scale / Float32(sum)
    each_vector(Val(16), C) do i, width, mask
        store(load(width, at(dx, i), mask) * factor, at(dx, i), mask)
    end
    unsafe_store!(dx, unsafe_load(dx, label + 1) - scale, label + 1)
    return log(sum) + (top - unsafe_load(x, label + 1))
end

function largest_logit(x::Ptr32, n)
    top = -Inf32
    for i = 1:n
        top = max(top, unsafe_load(x, i))
    end
    return top
end

function loss_gradient!(
    loss::Union{BinaryCrossEntropy,MSE}, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32
)
    n = features(y) * p.n
    x, dx = address(p, y), address(p, dy)
    total = 0.0
    for i = 1:n
        value, slope = pointwise(loss, unsafe_load(x, i), unsafe_load(targets, i))
        total += value
        unsafe_store!(dx, slope / n, i)
    end
    return Float32(total / n)
end

"The loss of one output `x` with target `t`, and its derivative."
@inline pointwise(::MSE, x, t) = (abs2(x - t), 2.0f0 * (x - t))
@inline function pointwise(::BinaryCrossEntropy, x, t)
    return ((1.0f0 - t) * x + activate(softplus, -x), fastsigmoid(x) - t)
end

# The losses of loss.jl on the last buffer: the mean over the batch, and its gradient.

"The number of target values in one sample."
ntargets(::CrossEntropy, y::Buffer) = y.W * y.H
ntargets(::Union{BinaryCrossEntropy,MSE}, y::Buffer) = features(y)

"The loss of the batch, its gradient written to `dy`; `targets` are staged as the loss wants them."
function head!(::CrossEntropy, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32)
    n = columns(y, p.n)
    labels = Ptr{Int32}(targets)
    total = 0.0
    for j in 1:n
        c = (j - 1) * y.C
        total += cross_entropy!(at(address(p, dy), c), at(address(p, y), c), y.C, Int(unsafe_load(labels, j)), 1.0f0 / n)
    end
    return Float32(total / n)
end

"One column: `dx = (softmax(x) - onehot)·scale`; returns the loss."
function cross_entropy!(dx::Ptr32, x::Ptr32, C, label, scale)
    top = largest(x, C)
    each_vector((i, width, mask) -> store(fastexp(load(width, at(x, i), mask) - top), at(dx, i), mask), Val(16), C)
    sum = 0.0       # in Float64: the loss of a sure answer is what this differs from 1 by
    for i in 1:C
        sum += unsafe_load(dx, i)
    end
    factor = scale / Float32(sum)
    each_vector((i, width, mask) -> store(load(width, at(dx, i), mask) * factor, at(dx, i), mask), Val(16), C)
    unsafe_store!(dx, unsafe_load(dx, label + 1) - scale, label + 1)
    return log(sum) + (top - unsafe_load(x, label + 1))
end

function largest(x::Ptr32, n)
    top = -Inf32
    for i in 1:n
        top = max(top, unsafe_load(x, i))
    end
    return top
end

function head!(loss::Union{BinaryCrossEntropy,MSE}, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32)
    n = features(y) * p.n
    x, dx = address(p, y), address(p, dy)
    total = 0.0
    for i in 1:n
        value, slope = pointwise(loss, unsafe_load(x, i), unsafe_load(targets, i))
        total += value
        unsafe_store!(dx, slope / n, i)
    end
    return Float32(total / n)
end

@inline pointwise(::MSE, x, t) = (abs2(x - t), 2.0f0 * (x - t))
@inline pointwise(::BinaryCrossEntropy, x, t) = ((1.0f0 - t) * x + activate(softplus, -x), fastsigmoid(x) - t)

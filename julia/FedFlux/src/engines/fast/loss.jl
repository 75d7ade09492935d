# The losses of models/losses.jl on the output buffer: the mean over the batch, and its
# gradient.

"The losses of the engine; a field of this type is dispatched on without an allocation."
const LayerLoss = Union{CrossEntropy,BinaryCrossEntropy,MSE,Huber}

"The number of target values per sample."
ntargets(::CrossEntropy, y::Buffer) = y.W * y.H
ntargets(::PointwiseLoss, y::Buffer) = features(y)

"""
    loss_gradient!(loss, p, y, dy, targets)

Write the gradient of the batch's loss to `dy`; returns the loss. `targets` are in the
staging area, in the form that the loss needs.
"""
function loss_gradient!(
    loss::CrossEntropy, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32
)
    n = columns(y, p.n)
    labels = Ptr{Int32}(targets)
    plain = is_plain(loss)
    total = 0.0
    for j = 1:n
        c = (j - 1) * y.C
        x, dx = at(address(p, y), c), at(address(p, dy), c)
        label = Int(unsafe_load(labels, j))
        total +=
            plain ? cross_entropy!(dx, x, y.C, label, 1.0f0 / n) :
            weighted_cross_entropy!(loss, dx, x, y.C, label + 1, 1.0f0 / n)
    end
    return Float32(total / n)
end

"The same for soft labels: `targets` are of the output's size, the shares of the classes."
function soft_loss_gradient!(
    loss::CrossEntropy, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32
)
    n = columns(y, p.n)
    total = 0.0
    for j = 1:n
        c = (j - 1) * y.C
        x, dx = at(address(p, y), c), at(address(p, dy), c)
        total += weighted_cross_entropy!(loss, dx, x, y.C, at(targets, c), 1.0f0 / n)
    end
    return Float32(total / n)
end

"One column: `dx = (softmax(x) - onehot)·scale`; returns the loss."
function cross_entropy!(dx::Ptr32, x::Ptr32, C, label, scale)
    top, sum = exponentials!(dx, x, C)
    multiply!(dx, C, scale / Float32(sum))
    unsafe_store!(dx, unsafe_load(dx, label + 1) - scale, label + 1)
    return log(sum) + (top - unsafe_load(x, label + 1))
end

"""
One column for the share `a` of each class, its smoothed label times its weight, for the
`right` class or the address of soft labels:
`dx = (Σa softmax(x) - a)·scale`; returns the loss.
"""
function weighted_cross_entropy!(loss, dx::Ptr32, x::Ptr32, C, right, scale)
    top, sum = exponentials!(dx, x, C)
    ϵ = loss.label_smoothing / C
    mass, value = 0.0, 0.0
    for i = 1:C
        a = share(loss, i, right, ϵ)
        mass += a
        value += a * (log(sum) + (top - unsafe_load(x, i)))
    end
    multiply!(dx, C, Float32(scale * mass / sum))
    for i = 1:C
        a = share(loss, i, right, ϵ)
        unsafe_store!(dx, unsafe_load(dx, i) - scale * a, i)
    end
    return value
end

@inline share(loss::CrossEntropy, i, right::Int, ϵ) =
    weighted(loss, i, i == right ? 1 - loss.label_smoothing + ϵ : ϵ)
@inline share(loss::CrossEntropy, i, soft::Ptr32, ϵ) =
    weighted(loss, i, (1 - loss.label_smoothing) * unsafe_load(soft, i) + ϵ)

@inline function weighted(loss::CrossEntropy, i, q)
    weights = loss.class_weights
    return weights === nothing ? q : q * @inbounds weights[i]
end

"`dx = exp(x - the largest)`; returns the largest, and the sum."
function exponentials!(dx::Ptr32, x::Ptr32, C)
    top = largest_logit(x, C)
    each_vector(Val(16), C) do i, width, mask
        store(fastexp(load(width, at(x, i), mask) - top), at(dx, i), mask)
    end
    # In Float64: the loss of a confident right answer is how much this sum exceeds 1.
    sum = 0.0
    for i = 1:C
        sum += unsafe_load(dx, i)
    end
    return top, sum
end

function multiply!(x::Ptr32, n, factor)
    each_vector(Val(16), n) do i, width, mask
        store(load(width, at(x, i), mask) * factor, at(x, i), mask)
    end
end

function largest_logit(x::Ptr32, n)
    top = -Inf32
    for i = 1:n
        top = max(top, unsafe_load(x, i))
    end
    return top
end

function loss_gradient!(
    loss::PointwiseLoss, p::Pass, y::Buffer, dy::Buffer, targets::Ptr32
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
@inline function pointwise(loss::Huber, x, t)
    r, δ = x - t, loss.delta
    return huber(δ, r), clamp(r, -δ, δ)
end
@inline function pointwise(loss::BinaryCrossEntropy, x, t)
    is_plain(loss) && return binary_cross_entropy(x, t)
    weight = answer_weight(loss, t)
    value, slope = binary_cross_entropy(x, smoothed(loss.label_smoothing, 2)(t))
    return weight * value, weight * slope
end
@inline binary_cross_entropy(x, t) =
    ((1.0f0 - t) * x + activate(softplus, -x), fastsigmoid(x) - t)

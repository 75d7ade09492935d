# Losses on a model's raw outputs, and what counts as a correct answer under each loss.

"""
A loss that FedFlux provides: `CrossEntropy()`, `BinaryCrossEntropy()` or `MSE()`. Call it
as `loss(ŷ, y)`. It returns the mean over the batch.
"""
abstract type Loss end

"""
    CrossEntropy()

Softmax cross-entropy on logits. `ŷ` is (classes, N) or (classes, T, N). `y` holds integer
labels from 0, (N) or (T, N), or soft labels: floats, of the same size as `ŷ`.
"""
struct CrossEntropy <: Loss end

"""
    BinaryCrossEntropy()

Logistic cross-entropy on logits. `ŷ` is (k, N). `y` holds 0 and 1, (N) or (k, N).
"""
struct BinaryCrossEntropy <: Loss end

"""
    MSE()

Mean squared error. `ŷ` is (k, N). `y` holds numbers, (N) or (k, N).
"""
struct MSE <: Loss end

function (::CrossEntropy)(ŷ, y)
    hot = Zygote.ignore_derivatives(() -> Flux.onehotbatch(y, 0:(size(ŷ, 1)-1)))
    return Flux.logitcrossentropy(ŷ, hot)
end
function (::CrossEntropy)(ŷ::AbstractArray{<:Any,N},
    soft::AbstractArray{<:AbstractFloat,N}) where {N}
    return Flux.logitcrossentropy(ŷ, soft)
end
(::BinaryCrossEntropy)(ŷ, y) = Flux.logitbinarycrossentropy(ŷ, reshape(y, size(ŷ)))
(::MSE)(ŷ, y) = Flux.mse(ŷ, reshape(y, size(ŷ)))

const LOSSES = Dict("cross_entropy" => CrossEntropy(),
    "binary_cross_entropy" => BinaryCrossEntropy(), "mse" => MSE())

"""
Targets in the type that the loss needs: Int32 labels for cross-entropy, else Float32; one
target for each sample as (N), also if they are given as (1, N).
"""
targets(::CrossEntropy, y) = convert(Array{Int32}, y)
targets(loss, y) = convert(Array{Float32}, y)
targets(::Union{BinaryCrossEntropy,MSE}, y::AbstractMatrix) =
    convert(Array{Float32}, size(y, 1) == 1 ? vec(y) : y)

"The number of classes of the targets `y`, or 0 for a loss without classes."
classes(::CrossEntropy, y) = Int(maximum(y; init = -1)) + 1
classes(::BinaryCrossEntropy, y::AbstractVector) = 2
classes(loss, y) = 0

"""
The number of classes that right answers are counted for: 1 if a sample has several
labels, all of which must be right; 0 for a loss without classes.
"""
counted_classes(loss, y) = classes(loss, y)
counted_classes(::BinaryCrossEntropy, y::AbstractMatrix) = 1

"""
    count_right!(right, total, loss, ŷ, y)

Count the answers `ŷ` by class: add the number of samples with label c to `total[c+1]`, and
the number of correct answers among them to `right[c+1]`. Several labels of a sample count
as one answer, with c = 0. Does nothing for a loss without classes.
"""
function count_right!(right, total, ::CrossEntropy, ŷ, y)
    outputs = reshape(ŷ, size(ŷ, 1), :)
    for (j, label) in enumerate(vec(y))
        best = 1
        for i = 2:size(outputs, 1)
            @inbounds outputs[i, j] > outputs[best, j] && (best = i)
        end
        total[label+1] += 1
        right[label+1] += best == label + 1
    end
end
function count_right!(right, total, ::BinaryCrossEntropy, ŷ, y::AbstractVector)
    for (a, label) in zip(vec(ŷ), y)
        c = 1 + (label > 0.5f0)
        total[c] += 1
        right[c] += (a > 0) == (label > 0.5f0)
    end
end
function count_right!(right, total, ::BinaryCrossEntropy, ŷ, y::AbstractMatrix)
    isempty(total) && return
    for j in axes(y, 2)
        total[1] += 1
        right[1] += all(i -> (ŷ[i, j] > 0) == (y[i, j] > 0.5f0), axes(y, 1))
    end
end
count_right!(right, total, loss, ŷ, y) = nothing

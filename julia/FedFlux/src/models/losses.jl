# Losses on a model's raw outputs, and what counts as a correct answer under each loss.

"""
A loss that FedFlux provides: [`CrossEntropy`](@ref), [`BinaryCrossEntropy`](@ref),
[`MSE`](@ref) or [`Huber`](@ref). Call it as `loss(ŷ, y)`; it returns the mean over the
batch.
"""
abstract type Loss end

"""
    CrossEntropy(; class_weights = nothing, label_smoothing = 0)

Softmax cross-entropy on logits: the mean over the samples of `−Σ_c w_c q_c log p_c`.
`ŷ` is (classes, N) or (classes, T, N). `y` holds integer labels from 0, (N) or (T, N), or
soft labels: floats, of the same size as `ŷ`.

- `class_weights`: w, a number for each class; `nothing`: 1 for all.
- `label_smoothing`: ϵ from 0 to 1: `q = (1 − ϵ) onehot(y) + ϵ/classes` (Szegedy et
  al., arXiv:1512.00567, section 7).

A sample counts by its weight, and the sum is divided by the number of samples. PyTorch
divides by the sum of the weights in the batch, which would let a sample's loss depend on
the others.

```julia
CrossEntropy(class_weights = [1, 3])(Float32[0 1; 0 2], [0, 1])
```
"""
struct CrossEntropy <: Loss
    class_weights::Union{Nothing,Vector{Float32}}
    label_smoothing::Float32
end

"""
    BinaryCrossEntropy(; class_weights = nothing, label_smoothing = 0)

Logistic cross-entropy on logits. `ŷ` is (k, N). `y` holds 0 and 1, (N) or (k, N).

- `class_weights`: the weights of the answers 0 and 1; `nothing`: 1 for both.
- `label_smoothing`: ϵ from 0 to 1; a target t becomes `(1 − ϵ) t + ϵ/2`.

```julia
BinaryCrossEntropy()(Float32[0.5 -1], [1, 0])
```
"""
struct BinaryCrossEntropy <: Loss
    class_weights::Union{Nothing,Vector{Float32}}
    label_smoothing::Float32
end

for Labeled in (:CrossEntropy, :BinaryCrossEntropy)
    @eval function $Labeled(; class_weights = nothing, label_smoothing = 0)
        0 <= label_smoothing <= 1 ||
            fail("label_smoothing is ", label_smoothing, "; expected a number from 0 to 1")
        class_weights === nothing && return $Labeled(nothing, label_smoothing)
        all(w -> isfinite(w) && w >= 0, class_weights) && any(>(0), class_weights) ||
            fail("class_weights is ", class_weights, "; expected numbers of at least 0, ",
                "and one above it")
        return $Labeled(collect(Float32, class_weights), label_smoothing)
    end
end

is_plain(loss) = loss.class_weights === nothing && loss.label_smoothing == 0

"""
    MSE()

Mean squared error. `ŷ` is (k, N). `y` holds numbers, (N) or (k, N).
"""
struct MSE <: Loss end

"""
    Huber(; delta = 1)

The mean of Huber's loss, `r²/2` for an error `|r| ≤ δ` and `δ(|r| − δ/2)` beyond,
as PyTorch's `HuberLoss` has it. `ŷ` is (k, N). `y` holds numbers, (N) or (k, N).

Huber, Robust Estimation of a Location Parameter, 1964.

```julia
Huber(delta = 2)(Float32[0 5], [1, 1])      # (0.5 + 2·(4 − 1))/2
```
"""
struct Huber <: Loss
    delta::Float32
end

function Huber(; delta = 1)
    0 < delta < Inf || fail("huber_delta is ", delta, "; expected more than 0")
    return Huber(delta)
end

"The losses that compare each output with a target of its own."
const PointwiseLoss = Union{BinaryCrossEntropy,MSE,Huber}

function (loss::CrossEntropy)(ŷ, y)
    hot = Zygote.ignore_derivatives(() -> Flux.onehotbatch(y, 0:(size(ŷ, 1)-1)))
    return of_shares(loss, ŷ, hot)
end
(loss::CrossEntropy)(ŷ::AbstractArray{<:Any,N},
    soft::AbstractArray{<:AbstractFloat,N}) where {N} = of_shares(loss, ŷ, soft)

"The cross-entropy for the share that each class has of a sample."
function of_shares(loss::CrossEntropy, ŷ, shares)
    is_plain(loss) && return Flux.logitcrossentropy(ŷ, shares)
    weighed = Zygote.ignore_derivatives() do
        q = smoothed(loss.label_smoothing, size(ŷ, 1)).(shares)
        loss.class_weights === nothing ? q : loss.class_weights .* q
    end
    return Flux.logitcrossentropy(ŷ, weighed)
end

smoothed(ϵ, classes) = q -> (1 - ϵ) * q + ϵ / classes

function (loss::BinaryCrossEntropy)(ŷ, y)
    y = reshape(y, size(ŷ))
    is_plain(loss) && return Flux.logitbinarycrossentropy(ŷ, y)
    targets, weights = Zygote.ignore_derivatives() do
        smoothed(loss.label_smoothing, 2).(y), answer_weight.(Ref(loss), y)
    end
    return Flux.mean(
        weights .* Flux.logitbinarycrossentropy(ŷ, targets; agg = identity))
end

"The weight of a target; between 0 and 1, if mixup mixes them, in between."
answer_weight(loss::BinaryCrossEntropy, t) =
    loss.class_weights === nothing ? 1.0f0 :
    loss.class_weights[1] + Float32(t) * (loss.class_weights[2] - loss.class_weights[1])

(::MSE)(ŷ, y) = Flux.mse(ŷ, reshape(y, size(ŷ)))
(loss::Huber)(ŷ, y) = Flux.mean(huber.(loss.delta, ŷ .- reshape(y, size(ŷ))))

huber(δ, r) = abs(r) <= δ ? abs2(r) / 2 : δ * (abs(r) - δ / 2)

"""
    check_class_weights(loss, outputs)

Throw a [`FedFluxError`](@ref) unless the loss has a weight for each class: those of the
model's `outputs`, or the two answers of a binary loss.
"""
check_class_weights(loss, outputs) = nothing
function check_class_weights(loss::Union{CrossEntropy,BinaryCrossEntropy}, outputs)
    loss.class_weights === nothing && return
    expected, what =
        loss isa CrossEntropy ? (outputs, "each of the model's $outputs classes") :
        (2, "the labels 0 and 1")
    length(loss.class_weights) == expected ||
        fail("class_weights holds ", length(loss.class_weights), " numbers; expected one ",
            "for ", what)
end

"""
    balanced_weights(counts) -> Vector{Float64}

The weights with which all classes count alike: `n/(C nᶜ)` for `counts[c] = nᶜ` of n
samples in C classes, as scikit-learn's "balanced" has it. Classes without samples don't
count, and get the weight 1.
"""
function balanced_weights(counts)
    present = count(>(0), counts)
    return [c == 0 ? 1.0 : sum(counts) / (present * c) for c in counts]
end

const LOSSES = Dict("cross_entropy" => CrossEntropy(),
    "binary_cross_entropy" => BinaryCrossEntropy(), "mse" => MSE(), "huber" => Huber())

"""
The loss of a name, with the settings `class_weights`, `label_smoothing` and `huber_delta`.
`counts()` are the numbers of samples of each class, for weights that are "balanced".
"""
function named_loss(name, settings, counts = nothing)
    name == "huber" && return Huber(delta = settings.huber_delta)
    name == "mse" && return LOSSES[name]
    weights = settings.class_weights
    weights == "balanced" &&
        (weights = counts === nothing ? nothing : balanced_weights(counts()))
    return typeof(LOSSES[name])(; class_weights = weights, settings.label_smoothing)
end

"""
Targets in the type that the loss needs: Int32 labels for cross-entropy, else Float32; one
target for each sample as (N), also if they are given as (1, N).
"""
targets(::CrossEntropy, y) = convert(Array{Int32}, y)
targets(loss, y) = convert(Array{Float32}, y)
targets(::PointwiseLoss, y::AbstractMatrix) =
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

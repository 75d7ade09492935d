# What trains badly though it is not wrong, in the arrays of users of Julia.
# Python says the same of those of its users (_data/advice.py).

"The size of inputs from which plain SGD at the usual rates hardly learns."
const LARGE_INPUTS = 1000

"""
    advice_on_inputs(x) -> messages

Say which inputs are so large that training suffers, and which images look as if their
channels came first. `x`: samples along the last dimension, not normalized.

```julia
FedFlux.advice_on_inputs([0.5 0.1; 5.0e4 7.0e4])     # names feature 2
```
"""
function advice_on_inputs(x)
    messages = String[]
    eltype(x) <: AbstractFloat || return messages
    if ndims(x) == 4 && size(x, 1) in (1, 3, 4) && size(x, 3) > 4
        push!(
            messages,
            "x_train: size $(size(x)) is read as (W, H, C, N), images of " *
            "$(size(x, 3)) channels; if the channels come first, pass " *
            "permutedims(x, (2, 3, 1, 4))"
        )
    end
    maximum(abs, x; init = zero(eltype(x))) < LARGE_INPUTS && return messages
    channel = ndims(x) - 1
    others = Tuple(d for d = 1:ndims(x) if d != channel)
    sizes = vec(sqrt.(mean(v -> abs2(Float64(v)), x; dims = others)))
    size_of, i = findmax(sizes)
    size_of < LARGE_INPUTS && return messages
    what = ndims(x) == 2 ? "feature $i has" : "the images have"
    around = Int(round(size_of; sigdigits = 2))
    push!(
        messages,
        "x_train: $what values around $around: train with " *
        "normalise = \"federated\""
    )
    return messages
end

"""
    advice_on_labels(y) -> messages

Say that classes have no samples, if it seems that the labels don't count from 0.

```julia
FedFlux.advice_on_labels([1, 2, 3])
```
"""
function advice_on_labels(y)
    held = sort!(unique(y))
    few = 2 * length(held) <= last(held) + 1
    first(held) == 0 && !few && return String[]
    what = few ? "are $(length(held)) of 0 to $(last(held))" : "begin at $(first(held))"
    return [
        "y_train: the labels $what, so that the model has an output for classes that " *
        "nobody has; number the classes from 0: y = indexin(y, sort(unique(y))) .- 1"
    ]
end

# Labels of any type: the classes that they name, and their numbers from 0.

"What labels may be: one text, symbol, boolean or integer for each sample."
const Label = Union{AbstractString,Symbol,Integer}

"""
    number_labels(d::Dataset, loss; keep_integers = false) -> Dataset

The data with the numbers of the labels, from 0, in their place, and the sorted `classes`
beside them. Integers from 0 to n − 1, tokens, and targets that are no labels stay as they
are. With `keep_integers` those from 0 do, too, even if some are missing: they are the
numbers of a model's outputs already.

Throws a [`FedFluxError`](@ref) for texts under a loss that compares numbers, for a binary
loss of more or fewer than two classes, and for a test label that no training sample has.
"""
function number_labels(d::Dataset, loss; keep_integers = false)
    d.classes === nothing || return d
    texts = eltype(d.y) <: Union{AbstractString,Symbol}
    loss isa Union{CrossEntropy,BinaryCrossEntropy} ||
        return texts ?
               fail("y_train holds texts, such as ", repr(first(d.y)), "; expected ",
            "numbers, or a loss with classes") : d
    d.y isa AbstractVector{<:Label} || return d
    texts || !is_numbered(d, loss, keep_integers) || return d
    classes = sort!(unique(d.y))
    loss isa BinaryCrossEntropy && length(classes) != 2 &&
        fail("y_train holds ", length(classes), " classes (", listed_classes(classes),
            "); expected two for binary cross-entropy")
    ytest = d.ytest === nothing ? nothing : label_numbers("y_test", d.ytest, classes)
    validation =
        d.validation === nothing ? nothing :
        (first(d.validation), label_numbers("validation's y", last(d.validation), classes))
    return Dataset(d.x, label_numbers("y_train", d.y, classes), d.xtest, ytest, d.name,
        d.owner, d.owner_test, d.dtype, validation, classes)
end

"The data of one machine, whose labels must be numbers that all machines share."
with_numbers(d::Dataset) =
    eltype(d.y) <: Real ? d :
    fail("y_train holds texts, such as ", repr(first(d.y)), ", which machines would ",
        "number differently; number the classes from 0, the same on all of them")

"Whether integers are the numbers of classes already: all from 0 to the largest."
function is_numbered(d::Dataset, loss, keep_integers)
    eltype(d.y) == Bool && return false
    test = d.ytest isa AbstractVector{<:Integer} ? d.ytest : eltype(d.y)[]
    present = union(Set(d.y), Set(test))
    loss isa BinaryCrossEntropy && return issubset(present, (0, 1))
    low, high = extrema(present)
    return low == 0 && length(present) == high + 1 || keep_integers && low >= 0
end

"""
    label_numbers(name, y, classes) -> Vector{Int}

The number from 0 of each label's class. Throws a [`FedFluxError`](@ref) that names the
labels `name`, for one of no class.
"""
function label_numbers(name, y, classes)
    numbers = Dict(c => i - 1 for (i, c) in enumerate(classes))
    strange = findfirst(v -> !haskey(numbers, v), y)
    strange === nothing ||
        fail(name, " contains the label ", repr(y[strange]), ", and no sample of y_train ",
            "does; expected one of ", listed_classes(classes))
    return [numbers[v] for v in y]
end

function listed_classes(classes)
    shown = join(map(repr, first(classes, 8)), ", ")
    return length(classes) > 8 ? "$shown, … ($(length(classes)) in all)" : shown
end

"The labels of the numbers; the numbers themselves if they are the labels."
named_labels(::Nothing, numbers) = numbers
named_labels(classes, numbers) = map(n -> classes[n+1], numbers)

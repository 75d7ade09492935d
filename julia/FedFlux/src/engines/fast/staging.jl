# Staging: gathers a batch into the engine's memory and layout.

"Stands for the `n` samples that the last `batch` of an engine staged."
struct Staged
    n::Int
end
MLUtils.numobs(s::Staged) = s.n

"Throw unless `y` has `size` values for each sample of `x`, and `x` has the samples `idx`."
function check_data(b::Buffer, x, y, size, idx)
    n = numobs(x)
    if length(x) != features(b) * n
        expected = "expected $(features(b)) values per sample"
        throw(DimensionMismatch("data of size $(Base.size(x)); $expected"))
    end
    if y !== nothing && length(y) != size * n
        came = "$n samples and targets of size $(Base.size(y))"
        throw(DimensionMismatch("$came; expected $size per sample"))
    end
    for k in idx
        1 <= k <= n || throw(BoundsError(x, k))
    end
end

"Gather tokens as Int32; throw unless all of them are in 1:vocabulary."
function stage_tokens!(to::Ptr{Int32}, x, idx, size, vocabulary)
    for (n, k) in enumerate(idx)
        values, before = sample_at(x, k, size)
        for i = 1:size
            token = @inbounds values[before+i]
            1 <= token <= vocabulary ||
                throw(ArgumentError("token $token; the embedding takes 1 to $vocabulary"))
            unsafe_store!(to, Int32(token), (n - 1) * size + i)
        end
    end
end

"Gather the samples `idx` of `x` to `to`, channels first."
function stage_input!(to::Ptr32, b::Buffer, kind::Symbol, x, idx)
    kind in (:image, :signal) || return stage_flat!(to, x, idx, features(b))
    for (n, k) in enumerate(idx)
        values, before = sample_at(x, k, features(b))
        stage_image!(at(to, (n - 1) * sample_stride(b)), b, values, before)
    end
end

"Values that hold sample `k` of `x`, and how many of them come before it."
sample_at(x, k, size) = (x, (k - 1) * size)

"Gather samples in the data's own order."
function stage_flat!(to::Ptr{T}, x, idx, size) where {T}
    for (n, k) in enumerate(idx)
        values, before = sample_at(x, k, size)
        for i = 1:size
            @inbounds unsafe_store!(to, T(values[before+i]), (n - 1) * size + i)
        end
    end
end

"""
Copy the image (W, H, C) or signal (W, C) after the first `from` values of `x` to (C, W, H)
in its border.
"""
function stage_image!(to::Ptr32, b::Buffer, x, from)
    for c = 1:b.C, j = 0:(b.H-1)
        line = at(to, offset(b, 0, j) + c - 1)
        first = from + (j + (c - 1) * b.H) * b.W
        for i = 1:b.W
            @inbounds unsafe_store!(line, Float32(x[first+i]), 1 + (i - 1) * b.C)
        end
    end
end

"""
Gather labels as Int32, checked against the number of classes, and other targets as floats.
"""
function stage_targets!(to::Ptr32, ::CrossEntropy, y, idx, size, classes)
    labels = Ptr{Int32}(to)
    for (n, k) in enumerate(idx), i = 1:size
        label = @inbounds y[(k-1)*size+i]
        if !(0 <= label < classes)
            expected = "the model has $classes outputs: expected 0 to $(classes - 1)"
            throw(ArgumentError("label $label, but $expected"))
        end
        unsafe_store!(labels, Int32(label), (n - 1) * size + i)
    end
end

function stage_targets!(to::Ptr32, loss, y, idx, size, classes)
    stage_flat!(to, y, idx, size)
end

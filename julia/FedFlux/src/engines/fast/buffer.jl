# Memory layout of a batch: channels first, with a border for the zero padding.

"""
    Buffer

The layout of a batch of values in the arena or the staging area. A sample is (C, W, H),
channels first, with a border around W and H: windows that reach over the edge read zeros
and need no bounds checks. Features are (C, 1, 1), sequences (C, T, 1). Offsets and strides
count floats.
"""
struct Buffer
    at::Int           # offset of the first sample
    C::Int
    W::Int
    H::Int
    left::Int
    right::Int
    top::Int
    bottom::Int
    staged::Bool      # in the staging area, which holds the input batch
end

const Border = NTuple{4,Int}     # left, right, top, bottom
const NO_BORDER::Border = (0, 0, 0, 0)

row_stride(b::Buffer) = b.C * (b.W + b.left + b.right)
sample_stride(b::Buffer) = row_stride(b) * (b.H + b.top + b.bottom)
pixels(b::Buffer) = b.W * b.H
features(b::Buffer) = b.C * b.W * b.H
border(b::Buffer)::Border = (b.left, b.right, b.top, b.bottom)
isdense(b::Buffer) = border(b) == NO_BORDER
"The offset of pixel (i, j), from 0, within a sample."
offset(b::Buffer, i, j) = (j + b.top) * row_stride(b) + (i + b.left) * b.C

"The memory and the settings of one call."
struct Pass
    arena::Ptr32
    examples::Ptr32 # the examples' own gradients
    staged::Ptr32
    w::Ptr32        # parameters
    g::Ptr32        # their gradient
    stats::Ptr32    # running statistics
    n::Int          # samples in the batch
    train::Bool     # train mode or test mode
end

"""
    Operation

A layer with its buffers laid out. `forward!(o, p, lo, hi)` computes the outputs of the
samples lo:hi (from 0) from their inputs. `backward!(o, p, lo, hi)` follows it and computes
the gradients of the parameters, and of the inputs unless `dx` is nothing.
"""
abstract type Operation end

# An engine holds its operations in a vector, so that its own code is the same for every
# model, and calls them through these: a `Ref` goes through a call that is dispatched at run
# time without an allocation.
forward!(o::Operation, pass::Ref{Pass}) = all_samples(forward!, o, pass[])
backward!(o::Operation, pass::Ref{Pass}) = all_samples(backward!, o, pass[])
@inline all_samples(f::F, o, p::Pass) where {F} = (f(o, p, 0, p.n - 1); nothing)

"The address of sample `n` (from 0)."
@inline function address(p::Pass, b::Buffer, n = 0)
    return at(b.staged ? p.staged : p.arena, b.at + n * sample_stride(b))
end

"Zero the border of the samples lo:hi (from 0)."
function zeroborder!(p::Pass, b::Buffer, lo, hi)
    isdense(b) && return
    for n = lo:hi
        x = address(p, b, n)
        zeros!(x, b.top * row_stride(b) + b.left * b.C)
        # A row's right border and the next row's left border are adjacent.
        for j = 0:(b.H-2)
            zeros!(at(x, offset(b, b.W, j)), (b.left + b.right) * b.C)
        end
        last = offset(b, b.W, b.H - 1)
        zeros!(at(x, last), sample_stride(b) - last)
    end
end

"Zero `n` floats."
@inline function zeros!(p::Ptr32, n)
    for i = 1:n
        unsafe_store!(p, 0.0f0, i)
    end
end

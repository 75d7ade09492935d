# Where a layer's values lie: channels first, with room for the zeros that a convolution pads with.

"""
    Buffer

A batch of values in the arena or the staging area: (C, W, H) for each sample, channels first, with a border around W and
H, so that windows which reach over the edge find zeros and need no checks. Features are (C, 1, 1), sequences (C, T, 1).
Offsets count floats; a whole buffer is `image(b)` floats a sample.
"""
struct Buffer
    at::Int
    C::Int
    W::Int
    H::Int
    left::Int
    right::Int
    top::Int
    bottom::Int
    staged::Bool      # in the staging area, which holds the batch itself
end

const Border = NTuple{4,Int}     # left, right, top, bottom

row(b::Buffer) = b.C * (b.W + b.left + b.right)
image(b::Buffer) = row(b) * (b.H + b.top + b.bottom)
pixels(b::Buffer) = b.W * b.H
features(b::Buffer) = b.C * b.W * b.H
border(b::Buffer)::Border = (b.left, b.right, b.top, b.bottom)
isdense(b::Buffer) = border(b) == (0, 0, 0, 0)
"Offset of pixel (i, j), from 0, within a sample."
offset(b::Buffer, i, j) = (j + b.top) * row(b) + (i + b.left) * b.C

"What one call works with: the arena, the staged batch, parameters, gradient, statistics, samples in the batch, train or test mode."
struct Pass
    arena::Ptr32
    staged::Ptr32
    w::Ptr32
    g::Ptr32
    stats::Ptr32
    n::Int
    train::Bool
end

"""
What an engine runs: `forward!(o, p, lo, hi)` computes the outputs of the samples lo:hi (from 0) from their inputs, and `backward!`,
after it, the gradients of its parameters and of its inputs, unless those aren't wanted (`dx` is nothing).
"""
abstract type Operation end

"The address of sample `n` (from 0)."
@inline address(p::Pass, b::Buffer, n = 0) = at(b.staged ? p.staged : p.arena, b.at + n * image(b))

"Zero the border of the samples lo:hi (from 0)."
function zeroborder!(p::Pass, b::Buffer, lo, hi)
    isdense(b) && return
    for n in lo:hi
        x = address(p, b, n)
        zeros!(x, b.top * row(b) + b.left * b.C)
        for j in 0:b.H-2      # the right border of a row and the left one of the next are neighbours
            zeros!(at(x, offset(b, b.W, j)), (b.left + b.right) * b.C)
        end
        last = offset(b, b.W, b.H - 1)
        zeros!(at(x, last), image(b) - last)
    end
end

"Zero `n` floats."
@inline function zeros!(p::Ptr32, n)
    for i in 1:n
        unsafe_store!(p, 0.0f0, i)
    end
end

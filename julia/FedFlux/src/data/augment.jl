# Augmentation: random changes of training images, drawn anew in each epoch. Draws come from
# (seed, augment, round, client). Batches are gathered into a buffer of the worker and
# changed there, before the engine takes them.

"""
    Augmentation

A random change of training images. A subtype implements `augment!(a, image, scratch, rng)`,
which changes the (W, H, C) array `image` in place. It may use `scratch`, an array of the
same size.
"""
abstract type Augmentation end

"Throw if images of size (W, H, C) are too small for an augmentation."
check_image(::Augmentation, dims) = nothing

"""
    Shift(pixels = 2)

Move an image by up to `pixels` pixels along each axis. Pixels from outside are 0. This is
the same as a random crop after padding with `pixels` zeros (He et al. 2016,
arXiv:1512.03385, section 4.2, with 4), so `crop(pad=4)` is another name for it.

```julia
image, scratch = ones(Float32, 8, 8, 1), zeros(Float32, 8, 8, 1)
FedFlux.augment!(FedFlux.Shift(2), image, scratch, Stream(0, :augment))
```
"""
Base.@kwdef struct Shift <: Augmentation
    pixels::Int = 2
end
construct(::Val{:augment}, ::Val{:crop}; pad) = Shift(pad)

"A random whole number in -n:n."
symmetric!(rng, n) = below!(rng, 2n + 1) - n

check_image(a::Shift, (W, H, C)::NTuple{3,Int}) =
    a.pixels < min(W, H) ||
    fail("augment: a shift by up to ", a.pixels, " pixels may move an image of ", W,
        "×", H,
        " out of sight; expected less than ", min(W, H))

function augment!(a::Shift, image, scratch, rng)
    right, down = symmetric!(rng, a.pixels), symmetric!(rng, a.pixels)
    copyto!(scratch, image)
    W, H, C = size(image)
    for c = 1:C, j = 1:H, i = 1:W
        inside = 1 <= i - right <= W && 1 <= j - down <= H
        @inbounds image[i, j, c] = inside ? scratch[i-right, j-down, c] : 0.0f0
    end
end

"""
    Flip()

Mirror an image, left to right, with probability 1/2.

```julia
image, scratch = rand(Float32, 8, 8, 3), zeros(Float32, 8, 8, 3)
FedFlux.augment!(FedFlux.Flip(), image, scratch, Stream(0, :augment))
```
"""
struct Flip <: Augmentation end

function augment!(::Flip, image, scratch, rng)
    rand(rng, Bool) || return
    W, H, C = size(image)
    for c = 1:C, j = 1:H, i = 1:(W÷2)
        @inbounds image[i, j, c], image[W+1-i, j, c] = image[W+1-i, j, c], image[i, j, c]
    end
end

"""
    Rotate(degrees = 10)

Rotate an image about its center by an angle between -`degrees` and `degrees`, drawn
uniformly, with bilinear interpolation. Pixels from outside are 0.

```julia
image, scratch = rand(Float32, 8, 8, 3), zeros(Float32, 8, 8, 3)
FedFlux.augment!(FedFlux.Rotate(10), image, scratch, Stream(0, :augment))
```
"""
Base.@kwdef struct Rotate <: Augmentation
    degrees::Float64 = 10.0
end

augment!(a::Rotate, image, scratch, rng) =
    rotate!(image, scratch, a.degrees * (2rand(rng, Float64) - 1))

function rotate!(image, scratch, degrees)
    copyto!(scratch, image)
    sine, cosine = Float32.(sincosd(degrees))
    W, H, C = size(image)
    middle_i, middle_j = (W + 1) / 2.0f0, (H + 1) / 2.0f0
    for j = 1:H, i = 1:W
        x, y = i - middle_i, j - middle_j
        from_i = middle_i + cosine * x + sine * y
        from_j = middle_j - sine * x + cosine * y
        for c = 1:C
            @inbounds image[i, j, c] = bilinear(scratch, from_i, from_j, c)
        end
    end
end

"The value of channel `c` at a position between pixels; 0 outside the image."
@inline function bilinear(image, i, j, c)
    i0, j0 = floor(Int, i), floor(Int, j)
    u, v = i - i0, j - j0
    return (1 - u) * (1 - v) * pixel(image, i0, j0, c) +
           u * (1 - v) * pixel(image, i0 + 1, j0, c) +
           (1 - u) * v * pixel(image, i0, j0 + 1, c) +
           u * v * pixel(image, i0 + 1, j0 + 1, c)
end

@inline pixel(image, i, j, c) =
    checkbounds(Bool, image, i, j, c) ? (@inbounds image[i, j, c]) : 0.0f0

"""
    Cutout(size = 8)

Set a square of `size`×`size` pixels to 0. Its center is drawn from the whole image, so the
square may reach over the edge (DeVries & Taylor 2017, arXiv:1708.04552).

```julia
image, scratch = ones(Float32, 8, 8, 1), zeros(Float32, 8, 8, 1)
FedFlux.augment!(FedFlux.Cutout(4), image, scratch, Stream(0, :augment))
```
"""
Base.@kwdef struct Cutout <: Augmentation
    size::Int = 8
end

check_image(a::Cutout, (W, H, C)::NTuple{3,Int}) =
    a.size <= max(W, H) ||
    fail("augment: cutout has size ", a.size, ", and the images are ", W, "×", H,
        "; expected at most ", max(W, H))

function augment!(a::Cutout, image, scratch, rng)
    W, H, C = size(image)
    i, j = below!(rng, W) + 1 - a.size ÷ 2, below!(rng, H) + 1 - a.size ÷ 2
    columns, rows = max(i, 1):min(i+a.size-1, W), max(j, 1):min(j+a.size-1, H)
    for c = 1:C, q in rows, p in columns
        @inbounds image[p, q, c] = 0.0f0
    end
end

"""
    Mixup(alpha = 0.2)

Mix each sample of a batch, and its targets, with another sample of the same batch:
λ·a + (1 - λ)·b, with one λ per batch from Beta(`alpha`, `alpha`) (Zhang et al. 2018,
arXiv:1710.09412). It works for any inputs, not only images. Cross-entropy then gets soft
labels.
"""
Base.@kwdef struct Mixup <: Augmentation
    alpha::Float64 = 0.2
end

"A worker's buffers for augmented batches, and the client's generator."
mutable struct Augmenter{A<:Tuple,X<:Array{Float32},Y<:Array}
    const augmentations::A
    const x::X
    const y::Y
    const scratch::X       # one sample
    const partners::Vector{Int}
    rng::Stream
end

"""
    Augmenter(augmentations, loss, x, y, n, classes)

The augmenter for batches of up to `n` samples like those of `x` and `y`, or `nothing` if
there are no augmentations. `classes` is the length of soft labels.
"""
function Augmenter(augmentations::Tuple, loss, x, y, n, classes)
    isempty(augmentations) && return nothing
    eltype(x) <: AbstractFloat ||
        fail("augment changes numbers, and these samples are tokens (", eltype(x),
            "); leave out augment")
    for a in augmentations
        a isa Mixup || ndims(x) == 4 ||
            fail("augment ", nameof(typeof(a)),
                " changes images of size (W, H, C), and the samples have size ",
                size(x)[1:(end-1)], "; only mixup supports those")
    end
    soft = mixes(augmentations) && loss isa CrossEntropy
    soft || !mixes(augmentations) || loss isa PointwiseLoss ||
        fail("augment mixup mixes targets for the losses of FedFlux, and this loss is ",
            loss, "; leave out mixup")
    targets = soft ? zeros(Float32, classes, n) : zeros(eltype(y), size(y)[1:(end-1)]..., n)
    buffer(count) = zeros(Float32, size(x)[1:(end-1)]..., count)
    return Augmenter(augmentations, buffer(n), targets, buffer(1), zeros(Int, n),
        Stream(0, :augment))
end

mixes(augmentations) = any(a -> a isa Mixup, augmentations)

reseed!(::Nothing, rng) = nothing
reseed!(a::Augmenter, rng) = a.rng = rng

"The batch of the samples `idx` for a training step, augmented, in the engine's form."
training_batch(::Nothing, e, x, y, idx) = batch(e, x, y, idx)

function training_batch(a::Augmenter, e, x, y, idx)
    n = length(idx)
    gather_samples!(a.x, x, idx)
    gather_targets!(a.y, y, idx)
    augment_all!(a.augmentations, a, n)
    return batch(e, a.x, a.y, Base.OneTo(n))
end

gather_targets!(to, y, idx) = gather_samples!(to, y, idx)
# soft labels
function gather_targets!(to::Matrix{Float32}, y::AbstractVector{<:Integer}, idx)
    fill!(to, 0)
    for (i, k) in enumerate(idx)
        to[y[k]+1, i] = 1
    end
end

augment_all!(::Tuple{}, a, n) = nothing
function augment_all!(augmentations::Tuple, a, n)
    augment_batch!(first(augmentations), a, n)
    augment_all!(Base.tail(augmentations), a, n)
end

function augment_batch!(augmentation, a::Augmenter, n)
    for i = 1:n
        augment!(augmentation, view(a.x,:,:,:,i), view(a.scratch,:,:,:,1), a.rng)
    end
end

function augment_batch!(mixup::Mixup, a::Augmenter, n)
    λ = Float32(beta!(a.rng, mixup.alpha))
    partners = view(a.partners, 1:n)
    partners .= 1:n
    shuffle!(a.rng, partners)
    mix!(a.x, partners, λ)
    mix!(a.y, partners, λ)
end

"Replace each sample i by λ·i + (1 - λ)·partners[i], computed from the unmixed samples."
function mix!(x, partners, λ)
    samples, n = reshape(x, :, size(x, ndims(x))), length(partners)
    samples[:, 1:n] .= λ .* samples[:, 1:n] .+ (1 - λ) .* samples[:, partners]
end

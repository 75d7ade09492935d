# The attack on images that carry a mark.

"""
    Backdoor(; target = 0, fraction = 0.5, size = 3, scale = 1.0, white = 1.0)

Stamps a `fraction` of its images with a white square of `size` pixels in the first corner
([`stamp!`](@ref)), labels them `target`, and sends `scale` times its update. Its success is
the share of stamped test images that the model labels `target`. `white` is a white pixel
as the model sees it, one number or one for each channel; a run that normalizes its data
gives what that makes of 1. Gu et al. 2017 (arXiv:1708.06733); Bagdasaryan et al. 2020
(arXiv:1807.00459).
"""
struct Backdoor <: Attack
    target::Int
    fraction::Float64
    size::Int
    scale::Float64
    white::Any
end
Backdoor(; target = 0, fraction = 0.5, size = 3, scale = 1.0, white = 1.0) =
    Backdoor(target, fraction, size, scale, white)
changes_data(::Backdoor) = true
with_white(a::Backdoor, white) = Backdoor(a.target, a.fraction, a.size, a.scale, white)
send(a::Backdoor, m, ctx) = (scaled(m, a.scale),)
function poison!(a::Backdoor, x, y, indices, nclasses, rng)
    ndims(x) == 4 && 0 <= a.target < nclasses ||
        fail("attack backdoor needs images, and a target among the ", nclasses,
            " classes; target is ", a.target)
    for i in indices
        rand(rng, Float64) < a.fraction || continue
        stamp!(selectdim(x, 4, i), a.size, a.white)
        y[i] = a.target
    end
end

"""
Put a backdoor's mark on images (W, H, …), in place: `size`×`size` white pixels in the
first corner. `white` is a number, or an array of one for each channel, (1, 1, C).
"""
function stamp!(image, size = 3, white = 1)
    columns = selectdim(image, 1, 1:min(size, Base.size(image, 1)))
    selectdim(columns, 2, 1:min(size, Base.size(image, 2))) .= white
    return image
end

# Convolutions and pools: kernels, strides, padding, dilation and groups.

include("../setup/fast.jl")

# (k, stride, pad, dilation)
const CONVOLUTIONS = [
    ((1, 1), 1, 0, 1),
    ((3, 3), 1, 1, 1),
    ((3, 3), 2, 1, 1),
    ((1, 1), 2, (2, 1), 1),
    ((2, 5), (3, 1), (2, 1), 1),
    ((2, 5), 1, (0, 1, 2, 3), 1),
    ((3, 3), 2, (0, 1, 2, 3), (2, 1)),
    ((3, 3), (3, 1), 0, (2, 1)),
    ((3, 2), (2, 3), 1, (1, 2)),
    ((5, 5), 4, 2, 1),
    ((2, 2), (3, 4), 0, 1)
]

@testset "convolution (k, stride, pad, dilation) = $c" for c in CONVOLUTIONS
    k, stride, pad, dilation = c
    dims = (9, 11, 3)
    # The second convolution has an input gradient, the first one hasn't.
    first = Conv((3, 3), 3 => 5, tanh; pad = 1)
    second = Conv(k, 5 => 4, relu; stride, pad, dilation)
    check(conv_net(dims, first, second), dims; batches = (1, 3))
end

const CHANNELS = [(1, 16, 32), (3, 17, 33), (4, 64, 80), (5, 130, 6)]

@testset "channels $cin => $mid => $cout" for (cin, mid, cout) in CHANNELS
    first = Conv((3, 3), cin => mid, relu; pad = 1)
    second = Conv((3, 3), mid => cout, relu; stride = 2)
    check(conv_net((8, 8, cin), first, second), (8, 8, cin); batches = (1, 7))
end

@testset "groups $groups" for groups in (2, 6)
    first = Conv((1, 1), 6 => 6)
    second = Conv((3, 3), 6 => 12, relu; groups, pad = 1)
    third = Conv((3, 3), 12 => 6; groups, bias = false)
    check(conv_net((7, 6, 6), first, second, third), (7, 6, 6))
end

@testset "images of one pixel, one row" begin
    pixel = (Conv((1, 1), 4 => 20, relu), Conv((1, 1), 20 => 8, relu))
    check(conv_net((1, 1, 4), pixel...), (1, 1, 4))
    row = (Conv((5, 1), 2 => 9, relu), Conv((3, 1), 9 => 8, relu; pad = (1, 0)))
    check(conv_net((12, 1, 2), row...), (12, 1, 2))
    small = (Conv((3, 3), 3 => 4, relu; pad = 2), Conv((2, 2), 4 => 4, relu; stride = 3))
    check(conv_net((2, 2, 3), small...), (2, 2, 3))
end

@testset "same padding" begin
    layers = (Conv((4, 3), 2 => 4; pad = SamePad()), Conv((4, 3), 4 => 4; pad = SamePad()))
    check(conv_net((6, 7, 2), layers...), (6, 7, 2))
end

function scale_only(c)
    l = Conv((1, 1), c => c; groups = c)
    l.weight .= 1.0f0 .+ 0.1f0 .* reshape(1:c, 1, 1, 1, c)
    l.bias .= 0.01f0
    return l
end

# (k, stride, pad)
const POOLS = [
    ((2, 2), 2, 0),
    ((3, 2), 1, 1),
    ((2, 2), (3, 4), (1, 0, 0, 1)),
    ((3, 3), 2, 1)
]

@testset "$pool (k, stride, pad) = $c" for pool in (MaxPool, MeanPool), c in POOLS
    k, stride, pad = c
    dims = (9, 8, 3)
    model = conv_net(dims, scale_only(3), pool(k; stride, pad))
    check(model, dims; batches = (1, 3), data = distinct(dims))
end

@testset "several pools" begin
    front = (scale_only(17), MaxPool((2, 2)), Conv((3, 3), 17 => 4, relu; pad = 1))
    mixed = conv_net((8, 8, 17), front..., GlobalMeanPool())
    check(mixed, (8, 8, 17); data = distinct((8, 8, 17)))
    max_only = conv_net((8, 8, 3), scale_only(3), GlobalMaxPool())
    check(max_only, (8, 8, 3); data = distinct((8, 8, 3)))
    # The engine moves the relu before a max-pool after it.
    relu_pool = conv_net((8, 8, 2), Conv((1, 1), 2 => 2, relu; groups = 2), MaxPool((2, 2)))
    relu_pool[1].layers[1].weight .= 1
    check(relu_pool, (8, 8, 2); data = n -> distinct((8, 8, 2))(n) .- 0.6f0)
end

# Convolutions and pools: every way to step over an image.

conv_net(dims, layers...; outputs = 3) =
    (front = Chain(layers..., Flux.flatten); Chain(front, Dense(size(front(zeros(Float32, dims..., 1)), 1) => outputs)))

# (kernel, stride, pad, dilation)
const CONVOLUTIONS = [((1, 1), 1, 0, 1), ((3, 3), 1, 1, 1), ((3, 3), 2, 1, 1), ((1, 1), 2, (2, 1), 1), ((2, 5), (3, 1), (2, 1), 1),
                      ((2, 5), 1, (0, 1, 2, 3), 1), ((3, 3), 2, (0, 1, 2, 3), (2, 1)), ((3, 3), (3, 1), 0, (2, 1)),
                      ((3, 2), (2, 3), 1, (1, 2)), ((5, 5), 4, 2, 1), ((2, 2), (3, 4), 0, 1)]

@testset "convolution $k, stride $stride, pad $pad, dilation $dilation" for (k, stride, pad, dilation) in CONVOLUTIONS
    dims = (9, 11, 3)
    # The second convolution passes a gradient back, the first one doesn't.
    check(conv_net(dims, Conv((3, 3), 3 => 5, tanh; pad = 1), Conv(k, 5 => 4, relu; stride, pad, dilation)), dims; batches = (1, 3))
end

@testset "channels $cin => $cout => $last" for (cin, cout, last) in ((1, 16, 32), (3, 17, 33), (4, 64, 80), (5, 130, 6))
    layers = (Conv((3, 3), cin => cout, relu; pad = 1), Conv((3, 3), cout => last, relu; stride = 2))
    check(conv_net((8, 8, cin), layers...), (8, 8, cin); batches = (1, 7))
end

@testset "groups $groups" for groups in (2, 6)
    layers = (Conv((1, 1), 6 => 6), Conv((3, 3), 6 => 12, relu; groups, pad = 1), Conv((3, 3), 12 => 6; groups, bias = false))
    check(conv_net((7, 6, 6), layers...), (7, 6, 6))
end

@testset "images of one pixel, one row" begin
    check(conv_net((1, 1, 4), Conv((1, 1), 4 => 20, relu), Conv((1, 1), 20 => 8, relu)), (1, 1, 4))
    check(conv_net((12, 1, 2), Conv((5, 1), 2 => 9, relu), Conv((3, 1), 9 => 8, relu; pad = (1, 0))), (12, 1, 2))
    check(conv_net((2, 2, 3), Conv((3, 3), 3 => 4, relu; pad = 2), Conv((2, 2), 4 => 4, relu; stride = 3)), (2, 2, 3))
end

@testset "same padding" begin
    check(conv_net((6, 7, 2), Conv((4, 3), 2 => 4; pad = SamePad()), Conv((4, 3), 4 => 4; pad = SamePad())), (6, 7, 2))
end

# Integers in random order: NNlib's gradient of a max takes values for equal that differ by less than 3e-4.
distinct(dims) = n -> reshape(shuffle(Float32.(1:prod(dims)*n)) ./ Float32(prod(dims) * n), dims..., n)
scale_only(c) = (l = Conv((1, 1), c => c; groups = c); l.weight .= 1.0f0 .+ 0.1f0 .* reshape(1:c, 1, 1, 1, c); l.bias .= 0.01f0; l)

@testset "$pool $k, stride $stride, pad $pad" for pool in (MaxPool, MeanPool),
        (k, stride, pad) in (((2, 2), 2, 0), ((3, 2), 1, 1), ((2, 2), (3, 4), (1, 0, 0, 1)), ((3, 3), 2, 1))
    check(conv_net((9, 8, 3), scale_only(3), pool(k; stride, pad)), (9, 8, 3); batches = (1, 3), data = distinct((9, 8, 3)))
end

@testset "pools in a row" begin
    layers = (scale_only(17), MaxPool((2, 2)), Conv((3, 3), 17 => 4, relu; pad = 1), GlobalMeanPool())
    check(conv_net((8, 8, 17), layers...), (8, 8, 17); data = distinct((8, 8, 17)))
    check(conv_net((8, 8, 3), scale_only(3), GlobalMaxPool()), (8, 8, 3); data = distinct((8, 8, 3)))
    # relu before a max-pool, which the engine puts after it
    relu_pool = conv_net((8, 8, 2), Conv((1, 1), 2 => 2, relu; groups = 2), MaxPool((2, 2)))
    relu_pool[1].layers[1].weight .= 1
    check(relu_pool, (8, 8, 2); data = n -> distinct((8, 8, 2))(n) .- 0.6f0)
end

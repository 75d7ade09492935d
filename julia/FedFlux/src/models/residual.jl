# Residual and depthwise-separable nets of images, with GroupNorm: BatchNorm's statistics
# differ from client to client (Hsieh et al. 2020, arXiv:1910.00189).

"The groups of each GroupNorm, as Hsieh et al. 2020 take them."
const NORM_GROUPS = 2

"A convolution without bias, which keeps the size at stride 1, and the norm after it."
convolved(k, (in, out)::Pair, σ, init; stride = 1, groups = 1) = (
    Conv((k, k), in => out; stride, pad = k ÷ 2, groups, bias = false, init),
    GroupNorm(out, NORM_GROUPS, σ)
)

"""
A basic block (He et al. 2016, arXiv:1512.03385, Figure 2): two 3×3 convolutions beside the
input, which a 1×1 convolution projects if the sizes differ.
"""
function basic_block((in, out)::Pair, stride, init)
    path = Chain(
        convolved(3, in => out, relu, init; stride)...,
        convolved(3, out => out, identity, init)...
    )
    in == out && stride == 1 && return (SkipConnection(path, +), relu)
    short = Chain(convolved(1, in => out, identity, init; stride)...)
    return (Parallel(+, path, short), relu)
end

"A 3×3 convolution, stages of basic blocks, the mean of each channel, and logits."
function residual_net(channels, widths, blocks, classes, rng)
    init = Flux.kaiming_normal(rng)
    layers = Any[convolved(3, channels=>first(widths), relu, init)...]
    in = first(widths)
    for (stage, out) in enumerate(widths), block = 1:blocks
        stride = stage > 1 && block == 1 ? 2 : 1
        append!(layers, basic_block(in => out, stride, init))
        in = out
    end
    return Chain(layers..., GlobalMeanPool(), Flux.flatten,
        Dense(in => classes; init = Flux.glorot_uniform(rng)))
end

"""
    resnet8(; imgsize = (32, 32), channels = 3, classes = 10, rng = Random.default_rng())

A small residual net: a 3×3 convolution to 16 channels, then one basic block each of 16, 32
and 64 channels (He et al. 2016, arXiv:1512.03385, section 4.2, with n = 1), the last two
with stride 2, the mean of each channel, and logits; 78,042 parameters for CIFAR-10.
GroupNorm of two groups takes the place of BatchNorm.

- `imgsize`: width and height of the images in pixels; any size.
- `channels`: number of channels of the images.
- `classes`: number of outputs.
- `rng`: draws the Kaiming-normal weights of the convolutions and the Glorot-uniform ones of
  the Dense layer; biases are zero.

Maps (W, H, channels, N) to logits (classes, N).

```julia
resnet8()(rand(Float32, 32, 32, 3, 5))   # 10×5
```
"""
function resnet8(; imgsize = (32, 32), channels = 3, classes = 10,
    rng = Random.default_rng())
    checksizes(imgsize, channels, classes)
    check_parameters("resnet8", (9 * channels, 16), 64 * big(classes))
    return residual_net(channels, (16, 32, 64), 1, classes, rng)
end

"""
    resnet18_gn(; imgsize = (32, 32), channels = 3, classes = 10,
                rng = Random.default_rng())

ResNet-18 (He et al. 2016, arXiv:1512.03385) for small images, as Hsieh et al. 2020
(arXiv:1910.00189) and Reddi et al. 2021 (arXiv:2003.00295) train it: GroupNorm of two
groups in the place of BatchNorm, a first 3×3 convolution to 64 channels without a
max-pool, two basic blocks each of 64, 128, 256 and 512 channels, the mean of each channel,
and logits; 11,173,962 parameters for CIFAR-10. Arguments and weights are as for
[`resnet8`](@ref). Maps (W, H, channels, N) to logits (classes, N).

```julia
resnet18_gn(classes = 100)(rand(Float32, 32, 32, 3, 2))   # 100×2
```
"""
function resnet18_gn(; imgsize = (32, 32), channels = 3, classes = 10,
    rng = Random.default_rng())
    checksizes(imgsize, channels, classes)
    check_parameters("resnet18_gn", (9 * channels, 64), 512 * big(classes))
    return residual_net(channels, (64, 128, 256, 512), 2, classes, rng)
end

"""
    mobilenet_small(; imgsize = (32, 32), channels = 3, classes = 10,
                    rng = Random.default_rng())

A small MobileNet (Howard et al. 2017, arXiv:1704.04861, Table 1, with a quarter of the
channels or less): a 3×3 convolution to 16 channels, then depthwise 3×3 and 1×1
convolutions to 32, 64 (stride 2), 64, 128 (stride 2) and 128 channels, the mean of each
channel, and logits; 37,162 parameters for CIFAR-10. Every convolution has a GroupNorm of
two groups and relu behind it. Arguments and weights are as for [`resnet8`](@ref). Maps
(W, H, channels, N) to logits (classes, N).

```julia
mobilenet_small(channels = 1)(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
function mobilenet_small(; imgsize = (32, 32), channels = 3, classes = 10,
    rng = Random.default_rng())
    checksizes(imgsize, channels, classes)
    check_parameters("mobilenet_small", (9 * channels, 16), 128 * big(classes))
    init = Flux.kaiming_normal(rng)
    layers = Any[convolved(3, channels=>16, relu, init)...]
    in = 16
    for (out, stride) in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))
        append!(layers, convolved(3, in => in, relu, init; stride, groups = in))
        append!(layers, convolved(1, in => out, relu, init))
        in = out
    end
    return Chain(layers..., GlobalMeanPool(), Flux.flatten,
        Dense(in => classes; init = Flux.glorot_uniform(rng)))
end

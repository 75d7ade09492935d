# SkipConnection and Parallel, GroupNorm and InstanceNorm, depthwise convolutions, adaptive
# pools: gradients, example-level clipping, allocations.

include("../setup/fast.jl")
include("../setup/clipped.jl")

conv3(c, σ = identity; o...) = Conv((3, 3), c, σ; pad = 1, bias = false, o...)
"A residual block of two convolutions, with a projection where the sizes differ."
function block((from, to)::Pair; stride = 1, norm = c -> GroupNorm(c, 2))
    path = Chain(conv3(from => to; stride), norm(to), relu, conv3(to => to), norm(to))
    from == to && stride == 1 && return Chain(SkipConnection(path, +), relu)
    short = Chain(Conv((1, 1), from => to; stride, bias = false), norm(to))
    return Chain(Parallel(+, path, short), relu)
end
head(c) = (GlobalMeanPool(), Flux.flatten, Dense(c => 3))

const BRANCHED = [
    ("a residual net",
        Chain(conv3(2 => 4), block(4 => 4), block(4 => 6; stride = 2), head(6)...),
        (7, 6, 2)),
    ("a skip over dense layers",
        Chain(Dense(5 => 8),
            SkipConnection(Chain(Dense(8 => 9, tanh), Dense(9 => 8)), +),
            Dense(8 => 3)), (5,)),
    ("a first skip, and a skip around it",
        Chain(
            SkipConnection(Chain(SkipConnection(Dense(5 => 5, tanh), +), LayerNorm(5)), +),
            Dense(5 => 3)), (5,)),
    ("branches with other borders, one without layers",
        Chain(conv3(2 => 3),
            Parallel(+, conv3(3 => 3), Conv((1, 1), 3 => 3, tanh),
                identity, Conv((5, 5), 3 => 3, gelu; pad = 2)), gelu, Flux.flatten,
            Dense(60 => 3)), (5, 4, 2)),
    ("named branches, concatenated",
        Chain(Dense(5 => 6, relu),
            Parallel(vcat; a = Dense(6 => 4, tanh), b = identity,
                c = Chain(LayerNorm(6), Dense(6 => 7))), Dense(17 => 3)), (5,)),
    ("time steps, concatenated",
        Chain(Parallel(vcat, Dense(4 => 5, tanh), Dense(4 => 2), identity), Dense(11 => 3)),
        (4, 6)),
    ("a flatten in a branch",
        Chain(conv3(2 => 3),
            Parallel(+, Chain(Flux.flatten, Dense(36 => 4)),
                Chain(conv3(3 => 4), GlobalMaxPool(), Flux.flatten)), Dense(4 => 3)),
        (4, 3, 2)),
    ("branches that the gradient does not reach",
        Chain(Parallel(+, MeanPool((2, 2)), Conv((2, 2), 2 => 2; stride = 2)), head(2)...),
        (4, 4, 2)),
    ("a last skip", Chain(Dense(5 => 3), SkipConnection(Dense(3 => 3), .+)), (5,))
]

@testset "$name" for (name, model, dims) in BRANCHED
    name == "a flatten in a branch" && (model[2].layers[2][1].weight .*= 3)
    check(model, dims; batches = (1, 3, 7), data = distinct(dims))
    check_clipped(model, dims; batches = (5,), data = n -> distinct(dims)(n) .- 0.3f0)
end

@testset "$(typeof(norm).name.name) $i" for (i, norm) in enumerate((
    GroupNorm(6, 3), GroupNorm(6, 1, relu), GroupNorm(6, 6, swish; eps = 0.1f0),
    GroupNorm(6, 2; affine = false), InstanceNorm(6; affine = true), InstanceNorm(6, tanh)
))
    # The exact gradient of a bias before a norm of its channel is zero.
    model = Chain(conv3(2 => 6), norm, conv3(6 => 20), GroupNorm(20, 4), Flux.flatten,
        Dense(400 => 3))
    check(model, (5, 4, 2); batches = (1, 5))
    check_clipped(model, (5, 4, 2); batches = (5,))
end

# (k, stride, pad, dilation)
@testset "depthwise convolution $c" for c in [
    ((3, 3), 1, 1, 1), ((3, 3), 2, 1, 1), ((2, 5), (3, 1), (0, 1, 2, 3), 1),
    ((3, 2), (2, 3), 1, (1, 2)), ((1, 1), 1, 0, 1), ((3, 3), 1, 2, 2)
]
    k, stride, pad, dilation = c
    for channels in (5, 17)
        first = Conv((3, 3), 3 => channels, tanh; pad = 1)
        depthwise = Conv(k, channels => channels, relu; stride, pad, dilation,
            groups = channels, bias = channels == 5)
        model = conv_net((9, 11, 3), first, depthwise)
        check(model, (9, 11, 3); batches = (1, 3))
        check_clipped(model, (9, 11, 3); batches = (3,))
    end
    alone = conv_net((9, 11, 3), Conv(k, 3 => 3; stride, pad, dilation, groups = 3))
    check(alone, (9, 11, 3); batches = (2,))
end

@testset "adaptive pools" begin
    for pool in
        (AdaptiveMeanPool((2, 3)), AdaptiveMaxPool((3, 2)), AdaptiveMeanPool((1, 1)))
        model = conv_net((7, 8, 3), Conv((1, 1), 3 => 3; groups = 3), pool)
        model[1].layers[1].weight .= 1
        check(model, (7, 8, 3); batches = (1, 3), data = distinct((7, 8, 3)))
    end
end

@testset "steps of branches allocate nothing" begin
    depthwise = Chain(conv3(2 => 8), GroupNorm(8, 4), hardswish,
        conv3(8 => 8, relu; groups = 8), AdaptiveMeanPool((2, 2)), Flux.flatten,
        Dense(32 => 3))
    cases = [(m, dims) for (_, m, dims) in BRANCHED]
    for (model, dims) in [cases; (depthwise, (6, 6, 2))]
        e = LayerEngine(model, CrossEntropy(), dims, 5)
        w = FedFlux.flatten(model)
        g, labels = similar(w), size(predict(e, w, randn(Float32, dims..., 5)))[2:end]
        b = FedFlux.batch(e, randn(Float32, dims..., 5), rand(0:2, labels), 1:5)
        @test step_bytes(e, g, w, b) == 0
    end
end

@testset "what branches can't be" begin
    skip(layer, f) = Chain(Dense(4 => 4), SkipConnection(layer, f))
    @test startswith(
        unsupported_reason(skip(Dense(4 => 4), -), (4,)),
        "layer 2, SkipConnection"
    )
    @test occursin(
        "+ and vcat",
        unsupported_reason(skip(Dense(4 => 4), (a, b) -> a .- b), (4,))
    )
    @test occursin("different sizes: (1, 1, 3) and (1, 1, 4)",
        unsupported_reason(skip(Dense(4 => 3), +), (4,)))
    within = unsupported_reason(skip(Chain(Dense(4 => 4), softmax), +), (4,))
    @test startswith(within, "layer 2.2, ") && !occursin("SkipConnection", within)
    images = Chain(Parallel(vcat, conv3(2 => 2), identity), Flux.flatten, Dense(32 => 2))
    @test occursin("not images", unsupported_reason(images, (2, 4, 2)))
    tracked = Chain(conv3(2 => 2), InstanceNorm(2; track_stats = true), head(2)...)
    @test occursin("track_stats", unsupported_reason(tracked, (4, 4, 2)))
    large = Chain(AdaptiveMeanPool((5, 5)), Flux.flatten, Dense(50 => 2))
    @test occursin("(5, 5) pixels", unsupported_reason(large, (4, 4, 2)))
end

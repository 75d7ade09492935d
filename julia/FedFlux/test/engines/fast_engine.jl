# The engine as a whole: named models, batches, allocations, and unsupported models.

include("../setup/fast.jl")

@testset "named models" begin
    images(n) = rand(Float32, 28, 28, 1, n)
    for model in (case_study_cnn(), lenet(), mlp(28 * 28), softmax_regression(28 * 28))
        check(model, (28, 28, 1); batches = (1, 10, 32), data = images)
    end
    check(mcmahan_cnn(), (28, 28, 1); batches = (1, 7), data = images)
    check(case_study_cnn(imgsize = (32, 20), channels = 3), (32, 20, 3); batches = (5,))
    check(lenet(imgsize = (32, 32), channels = 3), (32, 32, 3); batches = (5,))
end

const OTHER_CPUS = [FedFlux.CPU(8, 16), FedFlux.CPU(4, 32)]

@testset "register tiles for $cpu" for cpu in OTHER_CPUS
    convs = (Conv((3, 3), 3 => 21, relu; stride = 2), Conv((2, 2), 21 => 6))
    check(conv_net((9, 8, 3), convs...), (9, 8, 3); batches = (5,), cpu)
    check(Chain(LSTM(5 => 21), Dense(21 => 3)), (5, 6); batches = (3,), cpu)
end

"The bytes that staging a batch, training steps and a prediction allocate."
function allocated(e, g, w, x, y, idx)
    function step()
        b = FedFlux.batch(e, x, y, idx)
        valgrad!(e, g, w, b...)
        predict(e, w, b[1])
        valgrad!(e, g, w, x, y)
        return nothing
    end
    step()
    return @allocated step()
end

@testset "no allocations" begin
    mixed = Chain(
        Conv((3, 3), 1 => 4),
        BatchNorm(4, gelu),
        MeanPool((2, 2)),
        Dropout(0.5),
        Flux.flatten,
        LayerNorm(676),
        Dense(676 => 10)
    )
    for model in (case_study_cnn(), lenet(), mlp(28 * 28), mixed)
        e = LayerEngine(model, CrossEntropy(), (28, 28, 1), 10)
        w = FedFlux.flatten(model)
        x, y = rand(Float32, 28, 28, 1, 10), rand(Int32(0):Int32(9), 10)
        @test allocated(e, similar(w), w, x, y, [2, 7, 1]) == 0
    end
    e = LayerEngine(lenet(), CrossEntropy(), (28, 28, 1), 2)
    w = zeros(Float32, nparams(e))
    @inferred valgrad!(e, similar(w), w, rand(Float32, 28, 28, 1, 2), [0, 1])
    for cell in (RNN, LSTM, GRU)
        model = Chain(Embedding(9 => 6), cell(6 => 8), Dense(8 => 9))
        e = LayerEngine(model, CrossEntropy(), (5,), 10)
        w = FedFlux.flatten(model)
        x, y = rand(Int32(1):Int32(9), 5, 10), rand(Int32(0):Int32(8), 5, 10)
        @test allocated(e, similar(w), w, x, y, [2, 7, 1]) == 0
    end
end

@testset "batches" begin
    model = lenet(channels = 2)
    e = LayerEngine(model, CrossEntropy(), (28, 28, 2), 4)
    z = ZygoteEngine(exact_pools(model), CrossEntropy())
    θ = FedFlux.flatten(model)
    w, g, exact, back = similar(θ), similar(θ), similar(θ), similar(θ)
    to_engine!(w, e, θ)
    x, y = rand(Float32, 28, 28, 2, 9), rand(0:9, 9)
    for idx in ([9, 1, 4, 4], [3], view([1, 2, 8], 2:3), 5:7)
        valgrad!(e, g, w, FedFlux.batch(e, x, y, idx)...)
        valgrad!(z, exact, θ, FedFlux.batch(z, x, y, idx)...)
        @test worst(model, to_model!(back, e, g), exact) < 1.0f-5
        staged, _ = FedFlux.batch(e, x, y, idx)
        @test predict(e, w, staged) ≈ predict(z, θ, x[:, :, :, idx]) rtol = 1.0f-4
    end
    @test FedFlux.maxbatch(e) == 4
    @test_throws ArgumentError FedFlux.batch(e, x, y, 1:5)
    @test_throws ArgumentError FedFlux.batch(e, x, y, 1:0)
    @test_throws ArgumentError FedFlux.batch(e, x, fill(10, 9), 1:2)
    @test_throws BoundsError FedFlux.batch(e, x, y, [10])
    @test_throws DimensionMismatch valgrad!(e, g[1:(end-1)], w, x[:, :, :, 1:2], y[1:2])
    @test_throws DimensionMismatch valgrad!(e, g, w, x[:, :, 1:1, 1:2], y[1:2])
    @test_throws DimensionMismatch valgrad!(e, g, w, x[:, :, :, 1:2], y[1:3])
    loss = valgrad!(e, g, w, Float64.(x[:, :, :, 1:2]), y[1:2])
    @test loss ≈ valgrad!(e, g, w, view(x,:,:,:,(1:2)), y[1:2])
end

@testset "soft labels of $loss" for loss in
                                    (
    CrossEntropy(),
    CrossEntropy(class_weights = 1:5, label_smoothing = 0.1)
)

    for (model, dims, size) in [
        (Chain(Dense(6 => 9, tanh), Dense(9 => 5)), (6,), (5,)),
        (Chain(LSTM(4 => 6), Dense(6 => 5)), (4, 3), (5, 3))
    ]
        e, z =
            LayerEngine(model, loss, dims, 7), ZygoteEngine(model, loss)
        w = FedFlux.flatten(model)
        g, exact, h = similar(w), similar(w), similar(w)
        x, soft = randn(Float32, dims..., 7), rand(Float32, size..., 7)
        hard = rand(0:4, size[2:end]..., 7)
        hot = Float32.(Flux.onehotbatch(hard, 0:(size[1]-1)))
        for n in (7, 2), y in (soft, Float64.(soft), hot)
            b = FedFlux.batch(e, x, y, 1:n)
            first(a) = collect(selectdim(a, ndims(a), 1:n))
            @test valgrad!(e, g, w, b...) ≈ valgrad!(z, exact, w, first(x), first(y))
            @test worst(model, g, exact) < 1.0f-5
            y === hot && @test valgrad!(e, h, w, x, hard) ≈ valgrad!(e, g, w, x, hot)
            y === hot && @test h ≈ g rtol = 1e-5       # labels after soft ones, and back
        end
        if length(size) == 1       # and with a rule's term added, here zero
            ends = FedFlux.Ends(e, 7)
            @test valgrad!(n -> 0, e, g, w, x, soft, ends) == valgrad!(e, h, w, x, soft)
            @test g == h
        end
        clipped_gradient!(e, g, w, x, soft, 0.05)
        clipped_gradient!(z, exact, w, x, soft, 0.05)
        @test g ≈ exact rtol = 1e-5
        valgrad!(e, g, w, x, soft)
        @test allocated(e, g, w, x, soft, [2, 7, 1]) == 0
        @test_throws DimensionMismatch valgrad!(
            e,
            g,
            w,
            x,
            soft[:, ntuple(_->:, length(size)-1)..., 1:3]
        )
    end
end

@testset "finite differences" begin
    front = (Conv((3, 3), 1 => 3, tanh; stride = 2), MeanPool((2, 2)), Flux.flatten)
    model = Chain(front..., Dense(27 => 4, tanh), Dense(4 => 3))
    e = LayerEngine(model, CrossEntropy(), (15, 15, 1), 5)
    w, g, h = FedFlux.flatten(model), zeros(Float32, nparams(e)), zeros(Float32, nparams(e))
    x, y = randn(Float32, 15, 15, 1, 5), rand(0:2, 5)
    valgrad!(e, g, w, x, y)
    atol = 1.0f-3 * maximum(abs, g)
    for i = 1:7:length(w)
        bumped(d) = (v = copy(w); v[i] += d; Float64(valgrad!(e, h, v, x, y)))
        slope = (bumped(1.0f-2) - bumped(-1.0f-2)) / 2.0f-2
        @test isapprox(slope, g[i]; atol, rtol = 1.0f-2)
    end
end

@testset "first layers without parameters have no input gradient" begin
    for first in (MaxPool((2, 2)), Flux.flatten, MeanPool((2, 2)))
        model = conv_net((6, 6, 2), first)
        check(model, (6, 6, 2); batches = (2,), data = distinct((6, 6, 2)))
    end
end

# (what the reason contains, model, dims)
const UNSUPPORTED = [
    ("layer 2, ", Chain(Dense(2 => 2), x -> x[end:end, :]), (2,)),
    ("softmax", Chain(Dense(2 => 2), softmax), (2,)),
    (
        "layer 1.2, SkipConnection",
        Chain(Chain(Dense(2 => 2), SkipConnection(Dense(2 => 2), -))),
        (2,)
    ),
    ("layer 1, Conv((1, 1, 1)", Chain(Conv((1, 1, 1), 2 => 2), Flux.flatten), (2, 2, 2, 2)),
    (
        "layer 1, ConvTranspose",
        Chain(ConvTranspose((3, 3), 1 => 2), Flux.flatten, Dense(8 => 2)),
        (6, 6, 1)
    ),
    ("layer 1, Dense", Chain(Dense(6 => 2), Flux.flatten, Dense(72 => 2)), (6, 6, 1)),
    ("layer 2, Dense", Chain(Dense(6 => 2), Dense(3 => 2)), (6,)),
    ("return_state", Chain(LSTM(6 => 2; return_state = true), first), (6, 3)),
    ("Float64", Chain(Dense(rand(2, 2))), (2,)),
    ("parameters", Chain(Flux.flatten), (2,)),
    ("end", Chain(Conv((1, 1), 1 => 2)), (2, 2, 1))
]

@testset "unsupported: $part" for (part, model, dims) in UNSUPPORTED
    @test occursin(part, unsupported_reason(model, dims))
end

@testset "unsupported: other losses and tied layers" begin
    @test occursin("loss", unsupported_reason(Chain(Dense(2 => 2)), (2,); loss = Flux.mse))
    d = Dense(2 => 2)
    @test occursin("layer 2, Dense(2 => 2)", unsupported_reason(Chain(d, d), (2,)))
    tied = Chain(d, Dense(d.weight, true))
    @test occursin("layer 2", unsupported_reason(tied, (2,)))
end

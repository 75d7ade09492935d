# The sum of clipped gradients: the fast engine's against one example after another.

include("../setup/fast.jl")
include("../setup/clipped.jl")

images(n) = rand(Float32, 28, 28, 1, n)
tokens(vocabulary, dims...) = n -> rand(1:vocabulary, dims..., n)

@testset "clipped sums of the named models" begin
    for model in (case_study_cnn(), lenet(), mlp(28 * 28), softmax_regression(28 * 28))
        check_clipped(model, (28, 28, 1); batches = (1, 7, 32), data = images)
    end
    check_clipped(mcmahan_cnn(), (28, 28, 1); batches = (1, 3), data = images)
    lstm = Chain(Embedding(30 => 8), LSTM(8 => 24), LSTM(24 => 24), Dense(24 => 30))
    check_clipped(lstm, (12,); batches = (1, 7, 32), data = tokens(30, 12))
end

@testset "clipped sums of $name" for (name, model, dims) in [
    ("a grouped convolution",
        Chain(Conv((3, 3), 4 => 8, relu; groups = 2, stride = 2, pad = 1),
            Conv((2, 2), 8 => 12, gelu; bias = false), Flux.flatten, Dense(108 => 3)),
        (8, 8, 4)),
    ("a dilated convolution",
        Chain(Conv((3, 3), 2 => 5, tanh; dilation = 2), MeanPool((2, 2)), Flux.flatten,
            Dense(20 => 3)), (8, 8, 2)),
    ("late convolutions of few pixels",
        Chain(Conv((3, 3), 3 => 20, relu; stride = 3), Conv((2, 2), 20 => 40, relu),
            Conv((2, 2), 40 => 33), GlobalMeanPool(), Flux.flatten, Dense(33 => 4)),
        (12, 12, 3)),
    ("dense layers without bias",
        Chain(Dense(4 => 6, relu; bias = false), Dense(6 => 2; bias = false)), (4,)),
    ("dense layers of each time step, few and many",
        Chain(Dense(3 => 4, tanh), Dense(4 => 3)), (3, 9)),
    ("wide dense layers of two time steps", Chain(Dense(30 => 40, elu), Dense(40 => 20)),
        (30, 2)),
    ("LayerNorm", Chain(Dense(5 => 18), LayerNorm(18, relu), Dense(18 => 3)), (5,)),
    ("LayerNorm of each time step",
        Chain(LayerNorm(5), Dense(5 => 7), LayerNorm(7, swish), Dense(7 => 3)), (5, 6)),
    ("LayerNorm without parameters",
        Chain(LayerNorm(5; affine = false), Dense(5 => 3)), (5,)),
    ("LayerNorm after a flatten",
        Chain(Conv((2, 2), 2 => 3), Flux.flatten, LayerNorm(27), Dense(27 => 3)),
        (4, 4, 2)),
    ("max-pools and dropout that is off",
        Chain(Conv((3, 3), 2 => 4, relu; pad = 1), MaxPool((2, 2)),
            Dropout(0.5; active = false), Flux.flatten, Dense(36 => 3)), (6, 6, 2))
]
    check_clipped(model, dims)
end

@testset "clipped sums of $cell" for cell in (RNN, GRU, LSTM)
    check_clipped(Chain(cell(5 => 16), cell(16 => 9), Dense(9 => 3)), (5, 4))
    no_bias = Chain(cell(5 => 6; bias = false), Flux.flatten, Dense(24 => 3))
    check_clipped(no_bias, (5, 4); batches = (20,))
    check_clipped(Chain(cell(3 => 2), Dense(2 => 3)), (3, 17))      # more steps than rows
    # Fused with the embedding, or not, as a batch has more or fewer tokens than there are.
    for vocabulary in (11, 60)
        model = Chain(Embedding(vocabulary => 5), cell(5 => 6), Dense(6 => 3))
        check_clipped(model, (8,); data = tokens(vocabulary, 8))
    end
end

@testset "clipped sums of embeddings and losses" begin
    flat = Chain(Embedding(11 => 5), Flux.flatten, Dense(30 => 3))
    check_clipped(flat, (6,); data = tokens(11, 6))
    check_clipped(Chain(Embedding(11 => 5), Dense(5 => 3)), (); data = tokens(11))
    for loss in (BinaryCrossEntropy(), MSE())
        check_clipped(Chain(Dense(6 => 9, tanh), Dense(9 => 3)), (6,); loss)
        check_clipped(Chain(Dense(6 => 9, tanh), Dense(9 => 3)), (6, 5); loss)
    end
    for cpu in (FedFlux.CPU(8, 16), FedFlux.CPU(4, 32))
        convs = (Conv((3, 3), 3 => 21, relu; stride = 2), Conv((2, 2), 21 => 6))
        check_clipped(
            Chain(convs..., Flux.flatten, Dense(36 => 3)), (9, 8, 3); cpu
        )
    end
end

"A random model of convolutions or of time steps, with the size of its samples."
function random_model(rng)
    pick(xs...) = rand(rng, xs)
    size(from, to) = rand(rng, from:to)
    if rand(rng, Bool)
        W, channels, layers = size(6, 11), size(1, 5), Any[]
        dims, c = (W, W, channels), channels
        for _ = 1:size(1, 3)
            out, k = size(1, 40), size(1, 2)
            conv = Conv((k, k), c => out, pick(relu, tanh, identity, gelu);
                stride = size(1, 2), pad = size(0, 1), bias = rand(rng, Bool))
            push!(layers, conv)
            c = out
        end
        front = Chain(Any[layers..., Flux.flatten])
        features = length(front(zeros(Float32, dims..., 1)))
        return Chain(Any[layers..., Flux.flatten, Dense(features => 4)]), dims
    end
    F, T, H = size(1, 20), size(1, 12), size(1, 40)
    middle = pick(RNN(F => H), GRU(F => H), LSTM(F => H), Dense(F => H, tanh))
    norm = rand(rng, Bool) ? LayerNorm(H) : identity
    return Chain(Any[middle, norm, Dense(H => 3)]), (F, T)
end

@testset "clipped sums of random models" begin
    rng = Xoshiro(8)
    for _ = 1:(8*parse(Int, get(ENV, "FEDFLUX_FUZZ", "1")))
        model, dims = random_model(rng)
        check_clipped(model, dims; batches = (5,), rtol = 5.0f-5)
    end
end

@testset "a norm by finite differences" begin
    model =
        Chain(Conv((3, 3), 1 => 3, tanh), Flux.flatten, Dense(12 => 4, tanh), Dense(4 => 3))
    Random.seed!(3)
    fast, _, _, w = engine_pair(model, (4, 4, 1), CrossEntropy(), 1)
    g, x, y = similar(w), randn(Float32, 4, 4, 1, 1), [2]
    loss(v) = Float64(valgrad!(fast, g, v, x, y))
    slope(i) =
        (v = copy(w); v[i] += 1.0f-2; a = loss(v); v[i] -= 2.0f-2; (a - loss(v)) / 0.02)
    expected = norm(slope.(eachindex(w)))
    # g·C/‖g‖ has the norm C just where C is below ‖g‖.
    clipped_norm(clip) = (clipped_gradient!(fast, g, w, x, y, clip); norm(g))
    @test clipped_norm(Inf) ≈ expected rtol = 1e-3
    @test clipped_norm(0.5expected) ≈ 0.5expected rtol = 1e-6
    @test clipped_norm(2expected) < 1.01expected
end

@testset "columns that cancel are not clipped too little" begin
    # Two time steps of opposite gradients: the inner products cancel to rounding.
    model = Chain(Dense(64 => 64))
    fast, slow, θ, w = engine_pair(model, (64, 2), MSE(), 1)
    w .= 0
    rng = Xoshiro(1)
    column = randn(rng, Float32, 64)
    x, t = cat(column, column .* (1 + 1.0f-5); dims = 2), 1000 .* randn(rng, Float32, 64)
    y = cat(t, -t; dims = 2)
    g, exact = similar(w), similar(w)
    clipped_gradient!(fast, g, w, reshape(x, 64, 2, 1), reshape(y, 64, 2, 1), 0.01)
    @test norm(g) <= 0.01 * (1 + 1e-6)
    clipped_gradient!(slow, exact, w, reshape(x, 64, 2, 1), reshape(y, 64, 2, 1), 0.01)
    @test g ≈ exact rtol = 1e-2      # columns 1e-5 apart leave two digits in Float32
end

const SENSITIVE = [
    ("CNN", case_study_cnn(), (28, 28, 1), images, 0),
    ("last step", Chain(LSTM(5 => 9), FedFlux.last_step, Dense(9 => 3)), (5, 4),
        n -> randn(Float32, 5, 4, n), 0),
    ("LSTM", Chain(LSTM(5 => 16), LayerNorm(16), Dense(16 => 3)), (5, 7),
        n -> randn(Float32, 5, 7, n), 0),
    ("tokens", Chain(Embedding(20 => 8), GRU(8 => 8), Dense(8 => 20)), (6,),
        tokens(20, 6), 0)
]

@testset "one example more changes the sum by at most the clip: $name" for (
    name, model, dims, data
) in SENSITIVE

    Random.seed!(5)
    fast, slow, θ, w = engine_pair(model, dims, CrossEntropy(), 8)
    x = data(8)
    y = targets_for(CrossEntropy(), predict(slow, θ, x))
    without(a, i) = collect(selectdim(a, ndims(a), setdiff(1:8, i)))
    g, h = similar(w), similar(w)
    for clip in (1e-4, 0.3, 5.0)
        clipped_gradient!(fast, g, w, x, y, clip)
        for i in (1, 4, 8)
            clipped_gradient!(fast, h, w, without(x, i), without(y, i), clip)
            @test norm(g .- h) <= clip * (1 + 1e-4)
            clip == 1e-4 && @test norm(g .- h) > clip * (1 - 1e-2)     # it is clipped
        end
    end
    eltype(x) <: Integer && continue
    # An example that isn't finite counts as zero, in any place, in both engines.
    for bad in (NaN32, Inf32, 1.0f38), places in ((1,), (8,), (3, 4, 8), 1:8)
        spoiled = copy(x)
        foreach(i -> fill!(selectdim(spoiled, ndims(x), i), bad), places)
        good = setdiff(1:8, places)
        for (e, v) in ((fast, w), (slow, θ))
            clipped_gradient!(e, g, v, spoiled, y, 0.3)
            @test all(isfinite, g)
            # 1e38 may give a finite gradient, as saturated gates do.
            bad === 1.0f38 && continue
            isempty(good) ? fill!(h, 0) :
            clipped_gradient!(e, h, v, without(x, places), without(y, places), 0.3)
            @test g ≈ h rtol = 1e-5
        end
    end
    # The staged batch stays as it was.
    spoiled = copy(x)
    fill!(selectdim(spoiled, ndims(x), 2), NaN32)
    staged = FedFlux.batch(fast, spoiled, y, 1:8)
    clipped_gradient!(fast, g, w, staged..., 0.3)
    clipped_gradient!(fast, h, w, staged..., 0.3)
    @test g == h
end

@testset "a gradient of zero, and parameters that aren't finite" begin
    model = Chain(Dense(3 => 2))
    for e in (LayerEngine(model, MSE(), (3,), 2), ZygoteEngine(model, MSE()))
        w, g = zeros(Float32, 8), fill(NaN32, 8)
        x = ones(Float32, 3, 2)
        @test clipped_gradient!(e, g, w, x, zeros(Float32, 2, 2), 1.0) == 0
        @test g == zeros(8)
        clipped_gradient!(e, g, fill(NaN32, 8), x, zeros(Float32, 2, 2), 1.0)
        @test g == zeros(8)
    end
end

@testset "dropout drops for each example" begin
    model = Chain(Dense(4 => 50), Dropout(0.5), Dense(50 => 2))
    e = LayerEngine(model, MSE(), (4,), 6)
    w, g, h = flatten(model), zeros(Float32, nparams(e)), zeros(Float32, nparams(e))
    x, y = randn(Float32, 4, 6), randn(Float32, 2, 6)
    seeded!(f, g, args...) =
        (FedFlux.reseed!(e, Stream(1, :dropout)); f(e, g, w, x, y, args...))
    seeded!(clipped_gradient!, g, Inf)
    seeded!(valgrad!, h)
    @test g ≈ 6 .* h rtol = 1e-5
end

clipped_bytes(e, g, w, b) = @allocated clipped_gradient!(e, g, w, b..., 0.1)

@testset "clipped steps allocate nothing" begin
    texts = [Chain(Embedding(9 => 6), c(6 => 8), Dense(8 => 9)) for c in (RNN, LSTM, GRU)]
    plain = Chain(Embedding(90 => 6), LSTM(6 => 8), LayerNorm(8), Dense(8 => 9))
    mixed = Chain(Conv((3, 3), 1 => 4; groups = 1), MeanPool((2, 2)), Dropout(0.5),
        Flux.flatten, LayerNorm(676), Dense(676 => 10))
    cases = [
        [(m, (28, 28, 1), images) for m in (case_study_cnn(), lenet(), mlp(784), mixed)];
        [(m, (5,), tokens(9, 5)) for m in [texts; plain]]
    ]
    for (model, dims, data) in cases
        e = LayerEngine(model, CrossEntropy(), dims, 10)
        w, x = flatten(model), data(10)
        y = length(dims) == 1 ? rand(0:8, 5, 10) : rand(0:9, 10)
        g, b = similar(w), FedFlux.batch(e, x, y, 1:10)
        @inferred clipped_gradient!(e, g, w, b..., 0.1)
        clipped_bytes(e, g, w, b)
        @test clipped_bytes(e, g, w, b) == 0
    end
end

@testset "BatchNorm is refused by both engines" begin
    model = Chain(Dense(3 => 4), BatchNorm(4), Dense(4 => 2))
    w, x, y = flatten(model), randn(Float32, 3, 5), rand(0:1, 5)
    for e in
        (LayerEngine(model, CrossEntropy(), (3,), 5), ZygoteEngine(model, CrossEntropy()))
        err = try
            clipped_gradient!(e, similar(w), w, x, y, 1.0)
        catch err
            err
        end
        @test err isa Unsupported && occursin("GroupNorm or LayerNorm", err.reason)
    end
    group =
        Chain(Dense(4 => 6), x -> reshape(x, 1, 1, 6, :), GroupNorm(6, 2), Flux.flatten,
            Dense(6 => 2))
    @test FedFlux.mixes_examples(group) === nothing
    e, w = ZygoteEngine(group, CrossEntropy()), flatten(group)
    g = similar(w)
    clipped_gradient!(e, g, w, randn(Float32, 4, 5), rand(0:1, 5), 0.1)
    @test 0 < norm(g) <= 0.5
    tracked = Chain(InstanceNorm(2; track_stats = true))
    @test occursin("statistics", FedFlux.mixes_examples(tracked))
end

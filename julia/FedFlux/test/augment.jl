using FedFlux: Augmenter, Control, Crew, Cutout, Flip, LocalTraining, Mixup, Rotate, Shift, Worker, ZygoteEngine, augment!, augment_all!,
    federated_moments, localfit!, nsteps, reseed!, rotate!, training_batch

stream(k = 1) = Stream(3, :augment, 1, k)
changed(a, image, rng) = (copied = copy(image); augment!(a, copied, similar(image), rng); copied)

@testset "shift moves, and fills with zeros" begin
    image = rand(Xoshiro(1), Float32, 5, 4, 2)
    padded = zeros(Float32, 11, 10, 2)
    padded[4:8, 4:7, :] = image
    windows = [padded[i:i+4, j:j+3, :] for i in 1:7, j in 1:7]      # all shifts by up to 3 pixels
    rng = stream()
    seen = [findfirst(==(changed(Shift(3), image, rng)), windows) for _ in 1:600]
    @test all(!isnothing, seen) && length(unique(seen)) == 49
    @test changed(Shift(0), image, rng) == image
    @test FedFlux.build("augment", "crop(pad=3)") == Shift(3)
end

@testset "flip" begin
    image = rand(Xoshiro(1), Float32, 5, 4, 2)
    rng = stream()
    seen = [changed(Flip(), image, rng) for _ in 1:1000]
    @test all(in((image, reverse(image; dims = 1))), seen) && abs(count(==(image), seen) - 500) < 5sqrt(250)
end

@testset "rotate" begin
    image = rand(Xoshiro(1), Float32, 6, 6, 2)
    turned(degrees) = (copied = copy(image); rotate!(copied, similar(image), degrees); copied)
    @test turned(0.0) == image && turned(180.0) ≈ reverse(image; dims = (1, 2))
    @test turned(90.0) ≈ stack([rotr90(image[:, :, c]) for c in 1:2]) || turned(90.0) ≈ stack([rotl90(image[:, :, c]) for c in 1:2])
    @test turned(-90.0) ≈ reverse(turned(90.0); dims = (1, 2))
    wide = zeros(Float32, 21, 21, 1)
    wide[16, 11, 1] = 1                            # five pixels from the middle: at 37° it lies at (4, 3) from there
    rotate!(wide, similar(wide), atand(3 / 4))
    @test argmax(wide) in (CartesianIndex(15, 14, 1), CartesianIndex(15, 8, 1)) && maximum(wide) ≈ 1
    line = [i for i in -10.0f0:10, j in 1:21, c in 1:1]      # bilinear interpolation is exact on a plane
    rotate!(line, similar(line), 20.0)
    @test line[11, 11, 1] ≈ 0 atol = 1e-5
    @test abs(line[14, 11, 1]) ≈ 3cosd(20) atol = 1e-4
    @test changed(Rotate(0.0), image, stream()) ≈ image && changed(Rotate(40.0), image, stream()) != image
end

@testset "cutout" begin
    rng = stream()
    sizes = [(zeroed = findall(iszero, changed(Cutout(3), ones(Float32, 6, 5, 2), rng)); length(zeroed)) for _ in 1:500]
    @test sort(unique(sizes)) == 2 .* [4, 6, 9]      # whole, over an edge, over a corner
    @test all(iszero, changed(Cutout(20), ones(Float32, 6, 5, 2), rng))
end

@testset "batches are gathered, changed, and handed to the engine" begin
    x, y = rand(Xoshiro(2), Float32, 6, 6, 1, 20), collect(Int32, 0:19) .% Int32(3)
    e = ZygoteEngine(Chain(Flux.flatten, Dense(36 => 3)), CrossEntropy())
    a = Augmenter((Shift(1), Flip()), CrossEntropy(), x, y, 4, 0)
    reseed!(a, stream())
    xb, yb = training_batch(a, e, x, y, [7, 3, 20])
    expected, rng = x[:, :, :, [7, 3, 20]], stream()
    foreach(i -> augment!(Shift(1), view(expected, :, :, :, i), zeros(Float32, 6, 6, 1), rng), 1:3)
    foreach(i -> augment!(Flip(), view(expected, :, :, :, i), zeros(Float32, 6, 6, 1), rng), 1:3)
    @test xb == expected && yb == y[[7, 3, 20]] && x == rand(Xoshiro(2), Float32, 6, 6, 1, 20)
    a = Augmenter((Shift(1), Flip(), Rotate(5.0), Cutout(2)), CrossEntropy(), x, y, 4, 0)
    allocated(a) = (augment_all!(a.augmentations, a, 4); @allocated augment_all!(a.augmentations, a, 4))
    @test allocated(a) == 0
end

@testset "mixup mixes pairs, and their targets alike" begin
    x, y = rand(Xoshiro(2), Float32, 3, 10), Int32[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    e = ZygoteEngine(Chain(Dense(3 => 3)), CrossEntropy())
    a = Augmenter((Mixup(1.0),), CrossEntropy(), x, y, 10, 3)
    reseed!(a, stream(2))
    xb, yb = training_batch(a, e, x, y, 1:10)
    @test sum(xb; dims = 2) ≈ sum(x; dims = 2) && all(≈(1), sum(yb; dims = 1)) && size(yb) == (3, 10)
    hot = Flux.onehotbatch(y, 0:2)
    λ = FedFlux.beta!(stream(2), 1.0)
    @test all(1:10) do i
        any(j -> xb[:, i] ≈ λ .* x[:, i] .+ (1 - λ) .* x[:, j] && yb[:, i] ≈ λ .* hot[:, i] .+ (1 - λ) .* hot[:, j], 1:10)
    end
    ŷ = rand(Xoshiro(3), Float32, 3, 10)
    @test CrossEntropy()(ŷ, Float32.(hot)) ≈ CrossEntropy()(ŷ, y)
    @test occursin("only mixup takes those", message(() -> Augmenter((Flip(),), CrossEntropy(), x, y, 4, 0)))
    @test occursin("leave mixup out", message(() -> Augmenter((Mixup(),), (ŷ, y) -> 0, x, y, 4, 0)))
    @test occursin("tokens", message(() -> Augmenter((Mixup(),), CrossEntropy(), [1 2; 3 4], [1 2; 3 4], 4, 0)))
    mixed = FedFlux.run(; dataset = "digits", model = "softmax_regression", lr = 0.5, rounds = 2, augment = ["mixup"])
    @test mixed.trainer == "zygote" && mixed.trainer_reason == "mixup's soft labels" && FedFlux.accuracy(mixed) > 0.4
    @test occursin("need Zygote", message(() -> FedFlux.run(; dataset = "digits", augment = ["mixup"], trainer = "fast")))
end

@testset "an augmented run" begin
    run(; kw...) = FedFlux.run(; dataset = "digits", model = "softmax_regression", clients = 4, rounds = 2, lr = 0.5, kw...)
    plain, shifted = run(), run(augment = ["shift(pixels=1)"])
    @test shifted.params_sha256 == run(augment = "shift(pixels=1)").params_sha256 == run(augment = [Shift(1)]).params_sha256
    @test shifted.params_sha256 == run(augment = (Shift(1),), threads = 1).params_sha256 != plain.params_sha256
    @test run(augment = [Shift(0)]).params_sha256 == plain.params_sha256
    @test run(augment = [Cutout(100)], lr = 1e-9).history[1].test_loss ≈ run(lr = 1e-9).history[1].test_loss     # test data stays
    @test run(augment = [Cutout(100)], lr = 1e-9).history[1].train_loss ≈ log(10) rtol = 1e-5      # all inputs are 0
end

@testset "samples an epoch" begin
    t = LocalTraining(Descent(0.1f0); epochs = 3, batchsize = 4, samples = 10)
    @test nsteps(t, 100) == 9 && nsteps(t, 8) == 6
    x, y = blobs(40)
    e = ZygoteEngine(Chain(Dense(6 => 3)), CrossEntropy())
    function fit(t, epochs)
        w = Worker(e)
        append!(w.order, 1:40)
        s, ctx = (; shared = (), private = ()), (; θ = w.w, steps = epochs * 3)
        return localfit!(w, (), s, x, Int32.(y), t, Stream(0, :batches, 1, 1), ctx, Control())
    end
    @test fit(t, 3)[2] == 30      # of 10 samples, 4 + 4 + 2 a time
    run(; kw...) = FedFlux.run(; dataset = "digits", model = "softmax_regression", rounds = 1, lr = 0.5, kw...)
    @test run(samples_per_epoch = 1000).params_sha256 == run().params_sha256 != run(samples_per_epoch = 20).params_sha256
    @test occursin("at least 1", message(() -> run(samples_per_epoch = 0)))
end

@testset "federated normalisation is pooled normalisation" begin
    rng = Xoshiro(5)
    x = randn(rng, Float32, 4, 5, 3, 60) .* reshape([1, 20, 3], 1, 1, 3) .+ reshape([0, 7, -100], 1, 1, 3)
    clients = Clients(x, rand(rng, 0:1, 60), [1:10, 11:13, 14:60])
    m, s = federated_moments(clients)
    @test size(m) == size(s) == (1, 1, 3, 1)
    @test vec(m) ≈ [mean(x[:, :, c, :]) for c in 1:3] && vec(s) ≈ [std(x[:, :, c, :]; corrected = false) for c in 1:3]
    features = vcat(x[1, 1, :, :], fill(5.0f0, 1, 60))
    m, s = federated_moments(Clients(features, zeros(60), [1:30, 31:60]))
    @test vec(m) ≈ vec(mean(features; dims = 2)) && s[4] == 1
    held = Clients(features, zeros(60), [1:30, 41:60])       # what nobody holds doesn't count
    @test vec(federated_moments(held)[1]) ≈ vec(mean(features[:, [1:30; 41:60]]; dims = 2))
    run(; kw...) = FedFlux.run(; dataset = "digits", model = "softmax_regression", rounds = 1, lr = 0.1, kw...)
    d = FedFlux.digits()
    given = run(mean = mean(d.x), std = std(d.x; corrected = false))
    @test last(run(normalise = "federated").history).test_loss ≈ last(given.history).test_loss rtol = 1e-4
    @test occursin("one or the other", message(() -> run(normalise = "federated", mean = 0.5)))
end

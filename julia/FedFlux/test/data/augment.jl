using FedFlux: Augmenter, Control, Cutout, Flip, LocalTraining, Mixup, Rotate, Shift, Worker
using FedFlux: augment!, augment_all!, federated_moments, localfit!, nsteps, reseed!
using FedFlux: rotate!, training_batch

stream(k = 1) = Stream(3, :augment, 1, k)
function changed(a, image, rng)
    copied = copy(image)
    augment!(a, copied, similar(image), rng)
    return copied
end

@testset "shift moves images and fills with zeros" begin
    image = rand(Xoshiro(1), Float32, 5, 4, 2)
    padded = zeros(Float32, 11, 10, 2)
    padded[4:8, 4:7, :] = image
    # all shifts by up to 3 pixels
    windows = [padded[i:(i+4), j:(j+3), :] for i = 1:7, j = 1:7]
    rng = stream()
    seen = [findfirst(==(changed(Shift(3), image, rng)), windows) for _ = 1:600]
    @test all(!isnothing, seen) && length(unique(seen)) == 49
    @test changed(Shift(0), image, rng) == image
    @test FedFlux.build("augment", "crop(pad=3)") == Shift(3)
end

@testset "flip" begin
    image = rand(Xoshiro(1), Float32, 5, 4, 2)
    rng = stream()
    seen = [changed(Flip(), image, rng) for _ = 1:1000]
    @test all(in((image, reverse(image; dims = 1))), seen)
    @test abs(count(==(image), seen) - 500) < 5sqrt(250)
end

@testset "rotate" begin
    image = rand(Xoshiro(1), Float32, 6, 6, 2)
    turned(degrees) =
        (copied = copy(image); rotate!(copied, similar(image), degrees); copied)
    @test turned(0.0) == image && turned(180.0) ≈ reverse(image; dims = (1, 2))
    quarter(turn) = stack([turn(image[:, :, c]) for c = 1:2])
    @test turned(90.0) ≈ quarter(rotr90) || turned(90.0) ≈ quarter(rotl90)
    @test turned(-90.0) ≈ reverse(turned(90.0); dims = (1, 2))
    wide = zeros(Float32, 21, 21, 1)
    # five pixels from the center; rotated by 37° it is at (4, 3) from there
    wide[16, 11, 1] = 1
    rotate!(wide, similar(wide), atand(3 / 4))
    @test maximum(wide) ≈ 1
    @test argmax(wide) in (CartesianIndex(15, 14, 1), CartesianIndex(15, 8, 1))
    # bilinear interpolation is exact on a plane
    line = [i for i = -10.0f0:10, j = 1:21, c = 1:1]
    rotate!(line, similar(line), 20.0)
    @test line[11, 11, 1] ≈ 0 atol = 1e-5
    @test abs(line[14, 11, 1]) ≈ 3cosd(20) atol = 1e-4
    @test changed(Rotate(0.0), image, stream()) ≈ image
    @test changed(Rotate(40.0), image, stream()) != image
end

@testset "cutout" begin
    rng = stream()
    sizes = [count(iszero, changed(Cutout(3), ones(Float32, 6, 5, 2), rng)) for _ = 1:500]
    @test sort(unique(sizes)) == 2 .* [4, 6, 9]      # over a corner, over an edge, whole
    @test all(iszero, changed(Cutout(20), ones(Float32, 6, 5, 2), rng))
end

@testset "batches are gathered, changed, and passed to the engine" begin
    x, y = rand(Xoshiro(2), Float32, 6, 6, 1, 20), collect(Int32, 0:19) .% Int32(3)
    scratch = zeros(Float32, 6, 6, 1)
    e = ZygoteEngine(Chain(Flux.flatten, Dense(36 => 3)), CrossEntropy())
    a = Augmenter((Shift(1), Flip()), CrossEntropy(), x, y, 4, 0)
    reseed!(a, stream())
    xb, yb = training_batch(a, e, x, y, [7, 3, 20])
    expected, rng = x[:, :, :, [7, 3, 20]], stream()
    for a in (Shift(1), Flip()), i = 1:3
        augment!(a, view(expected,:,:,:,i), scratch, rng)
    end
    @test xb == expected && yb == y[[7, 3, 20]]
    @test x == rand(Xoshiro(2), Float32, 6, 6, 1, 20)
    a = Augmenter((Shift(1), Flip(), Rotate(5.0), Cutout(2)), CrossEntropy(), x, y, 4, 0)
    function allocated(a)
        augment_all!(a.augmentations, a, 4)
        return @allocated augment_all!(a.augmentations, a, 4)
    end
    @test allocated(a) == 0
end

@testset "mixup mixes pairs of samples, and their targets" begin
    x, y = rand(Xoshiro(2), Float32, 3, 10), Int32[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    e = ZygoteEngine(Chain(Dense(3 => 3)), CrossEntropy())
    a = Augmenter((Mixup(1.0),), CrossEntropy(), x, y, 10, 3)
    reseed!(a, stream(2))
    xb, yb = training_batch(a, e, x, y, 1:10)
    @test sum(xb; dims = 2) ≈ sum(x; dims = 2)
    @test all(≈(1), sum(yb; dims = 1)) && size(yb) == (3, 10)
    hot = Flux.onehotbatch(y, 0:2)
    λ = FedFlux.beta!(stream(2), 1.0)
    mixed(a, i, j) = λ .* a[:, i] .+ (1 - λ) .* a[:, j]
    @test all(1:10) do i
        any(j -> xb[:, i] ≈ mixed(x, i, j) && yb[:, i] ≈ mixed(hot, i, j), 1:10)
    end
    ŷ = rand(Xoshiro(3), Float32, 3, 10)
    @test CrossEntropy()(ŷ, Float32.(hot)) ≈ CrossEntropy()(ŷ, y)
    why(a, loss, x, y) = message(() -> Augmenter((a,), loss, x, y, 4, 0))
    @test occursin("only mixup supports those", why(Flip(), CrossEntropy(), x, y))
    @test occursin("leave out mixup", why(Mixup(), (ŷ, y) -> 0, x, y))
    @test occursin("tokens", why(Mixup(), CrossEntropy(), [1 2; 3 4], [1 2; 3 4]))
    run(; kw...) = FedFlux.run(; dataset = "digits", augment = ["mixup"], kw...)
    r = run(model = "softmax_regression", lr = 0.5, rounds = 2)
    @test r.trainer == "fast" && FedFlux.accuracy(r) > 0.4
    slow = run(model = "softmax_regression", lr = 0.5, rounds = 2, trainer = "zygote")
    @test last(slow.history).train_loss ≈ last(r.history).train_loss rtol = 1e-4
end

@testset "an augmented run" begin
    run(; lr = 0.5, kw...) =
        FedFlux.run(; dataset = "digits", model = "softmax_regression",
            clients = 4, rounds = 2, lr, kw...)
    sha(; kw...) = run(; kw...).params_sha256
    plain, shifted = sha(), sha(augment = ["shift(pixels=1)"])
    @test shifted == sha(augment = "shift(pixels=1)") == sha(augment = [Shift(1)])
    @test shifted == sha(augment = (Shift(1),), threads = 1) != plain
    @test sha(augment = [Shift(0)]) == plain
    # with so many squares training inputs are all 0; test data does not change
    dark = first(run(augment = fill(Cutout(8), 60), lr = 1e-9).history)
    @test dark.test_loss ≈ first(run(lr = 1e-9).history).test_loss
    @test dark.train_loss ≈ log(10) rtol = 1e-5
end

@testset "samples per epoch" begin
    t = LocalTraining(; optimizer = Descent(0.1f0), epochs = 3, batchsize = 4,
        samples_per_epoch = 10)
    @test nsteps(t, 100) == 9 && nsteps(t, 8) == 6
    x, y = blobs(40)
    e = ZygoteEngine(Chain(Dense(6 => 3)), CrossEntropy())
    function fit(t, epochs)
        w = Worker(e)
        append!(w.order, 1:40)
        ctx = (; θ = w.w, steps = epochs * 3)
        rng = Stream(0, :batches, 1, 1)
        return localfit!(w, x, Int32.(y), t, rng, ctx, Control())
    end
    @test fit(t, 3)[2] == 30      # three epochs of 4 + 4 + 2 samples
    run(; kw...) = FedFlux.run(; dataset = "digits", model = "softmax_regression",
        rounds = 1, lr = 0.5, kw...)
    sha(; kw...) = run(; kw...).params_sha256
    @test sha(samples_per_epoch = 1000) == sha() != sha(samples_per_epoch = 20)
    @test occursin("at least 1", message(() -> run(samples_per_epoch = 0)))
end

@testset "federated normalization is pooled normalization" begin
    rng = Xoshiro(5)
    scale, offset = reshape([1, 20, 3], 1, 1, 3), reshape([0, 7, -100], 1, 1, 3)
    x = randn(rng, Float32, 4, 5, 3, 60) .* scale .+ offset
    clients = Clients(x, rand(rng, 0:1, 60), [1:10, 11:13, 14:60])
    m, s = federated_moments(clients)
    @test size(m) == size(s) == (1, 1, 3, 1)
    @test vec(m) ≈ [mean(x[:, :, c, :]) for c = 1:3]
    @test vec(s) ≈ [std(x[:, :, c, :]; corrected = false) for c = 1:3]
    features = vcat(x[1, 1, :, :], fill(5.0f0, 1, 60))
    m, s = federated_moments(Clients(features, zeros(60), [1:30, 31:60]))
    @test vec(m) ≈ vec(mean(features; dims = 2)) && s[4] == 1
    held = Clients(features, zeros(60), [1:30, 41:60])       # samples that nobody holds
    m, _ = federated_moments(held)
    @test vec(m) ≈ vec(mean(features[:, [1:30; 41:60]]; dims = 2))
    run(; kw...) = FedFlux.run(; dataset = "digits", model = "softmax_regression",
        rounds = 1, lr = 0.1, kw...)
    d = FedFlux.digits()
    given = run(mean = mean(d.x), std = std(d.x; corrected = false))
    loss(r) = last(r.history).test_loss
    @test loss(run(normalise = "federated")) ≈ loss(given) rtol = 1e-4
    both() = run(normalise = "federated", mean = 0.5)
    @test occursin("one or the other", message(both))
end

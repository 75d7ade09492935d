# Noise that clients add under their masks: its distribution, and what reaches the sum.
using FedFlux: discrete_gaussian!, uniform!, bernoulli_exp!, FixedPoint,
    DistributedNoise, as_integers, build, start, add!, finish, protocol

"χ² of integers against probabilities ∝ weight(x), the tails in one cell each."
function chi_square(samples, weight, reach)
    p = [weight(x) for x = (-20reach):(20reach)]
    p ./= sum(p)
    cell(x) = clamp(x, -reach, reach)
    expected, seen = Dict{Int,Float64}(), Dict{Int,Int}()
    foreach((x, q) -> expected[cell(x)] = get(expected, cell(x), 0.0) + q,
        (-20reach):(20reach), p)
    foreach(x -> seen[cell(x)] = get(seen, cell(x), 0) + 1, samples)
    n = length(samples)
    @test minimum(values(expected)) * n > 5
    return sum((get(seen, c, 0) - n * q)^2 / (n * q) for (c, q) in expected), 2reach
end

"What χ² with `k` degrees of freedom exceeds once in 10,000 (Wilson and Hilferty)."
limit_of(k) = k * (1 - 2 / 9k + 3.719 * sqrt(2 / 9k))^3

@testset "the discrete Gaussian, variance $v" for (v, reach) in ((1, 3), (2, 4), (9, 8),
    (100, 25), (10_000, 200))

    r, n = SecureRandom(), 40_000
    x = [discrete_gaussian!(r, v) for _ = 1:n]
    χ², k = chi_square(x, x -> exp(-x^2 / 2v), reach)
    @test χ² < limit_of(k)
    @test abs(mean(x)) < 4 * sqrt(v / n)
    weights = [exp(-big(i)^2 / 2v) for i = (-20reach):(20reach)]
    exact = sum(((-20reach):(20reach)) .^ 2 .* weights) / sum(weights)
    @test abs(var(x) / exact - 1) < 4 * sqrt(2 / n)
    # The test can fail: neighboring integers, and a rounded normal of half the variance.
    @test chi_square(x .+ 1, x -> exp(-x^2 / 2v), reach)[1] > limit_of(k) || v > 100
    halved = round.(Int, randn(Xoshiro(1), n) .* sqrt(v / 2))
    @test chi_square(halved, x -> exp(-x^2 / 2v), reach)[1] > limit_of(k)
end

@testset "large variances, and what is out of range" begin
    r, n = SecureRandom(), 20_000
    for v in (2^30 + 1, 2^52)
        x = [discrete_gaussian!(r, v) for _ = 1:n]
        @test abs(mean(x)) < 4 * sqrt(v / n)
        @test abs(var(x) / v - 1) < 4 * sqrt(2 / n)
        @test abs(count(<=(sqrt(v)), abs.(x)) / n - 0.682689) < 4 * sqrt(0.68 * 0.32 / n)
    end
    @test occursin("variance of 0", message(() -> discrete_gaussian!(r, 0)))
    @test occursin("expected from 1", message(() -> discrete_gaussian!(r, 2^52 + 1)))
    # its parts
    for (a, b) in ((0, 7), (1, 2), (5, 2), (7, 1))
        hits = count(_ -> bernoulli_exp!(r, UInt128(a), UInt128(b)), 1:40_000) / 40_000
        p = exp(-a / b)
        @test abs(hits - p) <= 4 * sqrt(p * (1 - p) / 40_000)
    end
    for m in (1, 2, 3, 10, 2^40 + 1, UInt128(3) << 90)
        draws = [uniform!(r, UInt128(m)) for _ = 1:10_000]
        @test all(<(m), draws)
        @test abs(mean(Float64.(draws)) / m - (1 - 1 / m) / 2) < 4 * 0.29 / 100
    end
    @test allunique(discrete_gaussian!(SecureRandom(), 2^52) for _ = 1:50)   # fresh keys
end

uniform_facts = (; seed = UInt64(1), round = 1, max_weight = 1.0)

"The sum's noise in integers, over two updates of zeros for each client, and its details."
function noise_of_sum(a, n, values; weight = 1.0)
    u = Update(; delta = zeros(Float32, values), stats = zeros(Float32, values))
    acc = start(a, n, uniform_facts)
    foreach(_ -> acc = add!(a, acc, u, weight), 1:n)
    ū = finish(a, acc, 1)
    told = FedFlux.report(a, acc)
    back(v) =
        round.(Int, Float64.(v) .* (told.senders * 2.0^(told.bits - 1) / a.range))
    return [back(ū.delta); back(ū.stats)], told
end

@testset "the sum's noise has the deviation asked for; $n clients, multiplier $z" for (
    n,
    z
) in
                                                                                      (
    (
        10,
        1.0
    ),
    (25, 0.3))

    a = SecureMean(; noise = z, clip = 0.5, bits = 16, neighbours = 4)
    x, d = noise_of_sum(a, n, 6000)
    sensitivity = 0.5 * 2^15 / 8 + sqrt(12_000) / 2
    @test d.sensitivity ≈ sensitivity
    @test d.variance == ceil((z * sensitivity)^2 / n) && d.senders == n
    σ = z * sensitivity
    @test abs(var(x) / σ^2 - 1) < 4 * sqrt(2 / length(x))
    @test abs(mean(x)) < 4 * σ / sqrt(length(x))
    # normal within the resolution of 20 cells of equal probability
    edges =
        σ .* [-1.6449, -1.2816, -1.0364, -0.8416, -0.6745, -0.5244, -0.3853, -0.2533,
            -0.1257, 0, 0.1257, 0.2533, 0.3853, 0.5244, 0.6745, 0.8416, 1.0364, 1.2816,
            1.6449]
    cells = [count(==(c), searchsortedfirst.(Ref(edges), x)) for c = 1:20]
    @test sum(abs2, cells .- length(x) / 20) / (length(x) / 20) < limit_of(19)
    # One client's own noise is only its share: variance/n. Who vanishes takes it along.
    gone, e = noise_of_sum(
        SecureMean(; noise = z, clip = 0.5, bits = 16, drop = 0.04,
            threshold = 0.3), n, 6000)
    @test e.senders < n && e.variance == d.variance
    @test abs(var(gone) / (e.senders * e.variance) - 1) < 4 * sqrt(2 / length(gone))
end

@testset "one client changes the sum by no more than the sensitivity" begin
    rng, f = Xoshiro(3), FixedPoint{UInt32}(20; bits = 12)
    bound(clip, values) = DistributedNoise(f, 1.0, clip, 20, values).sensitivity
    for scale in (1.0f-3, 0.1f0, 1.0f0, 100.0f0, 1.0f30)
        u = Update(; delta = scale .* randn(rng, Float32, 300),
            stats = scale .* randn(rng, Float32, 20))
        v = FedFlux.clipped_for_noise(u, 0.7)
        integers = as_integers(f, v, 1, 1.0)
        vector = signed.(integers[1:300])
        stats = FedFlux.read_wide(f, integers[301:340])
        @test sqrt(sum(abs2, Float64[vector; stats])) <= bound(0.7, 320)
    end
    inf = Update(; delta = Float32[Inf, 1])
    a = SecureMean(; noise = 1.0, clip = 1.0)
    @test occursin("NaN or Inf", message(() -> combine_updates(a, [inf, inf, inf])))
end

@testset "what noise needs" begin
    us = [Update(; delta = Float32[k, 1]) for k = 1:3]
    @test occursin("expected both or none", message(() -> SecureMean(; noise = 1.0)))
    @test occursin("expected both or none", message(() -> SecureMean(; clip = 1.0)))
    @test occursin("positive", message(() -> SecureMean(; noise = -1.0, clip = 1.0)))
    a = SecureMean(; noise = 1.0, clip = 1.0)
    @test occursin(
        "use weights=uniform",
        message(
            () -> combine_updates(a, us;
                reference = (; uniform_facts..., max_weight = 9.0))
        )
    )
    metrics = [Update(u; metrics = (; work = Float32[1])) for u in us]
    @test occursin("metrics work", message(() -> combine_updates(a, metrics)))
    @test occursin(
        "doesn't cover",
        message(
            () -> Federated(mlp(4, 2); rules = (FedNova(),),
                aggregate = a, weights = :uniform)
        )
    )
    @test occursin(
        "with the noise",
        message(
            () -> start(SecureMean(; noise = 50.0,
                    clip = 8.0, bits = 24), 100, uniform_facts)
        )
    )
    @test start(SecureMean(; noise = 50.0, clip = 8.0), 100, uniform_facts).fixed.bits < 24
    run = FedFlux.run(; dataset = "digits", model = "softmax_regression", clients = 5,
        rounds = 2, weights = "uniform", aggregate = "secure(noise=0.5, clip=1)")
    @test all(
        r -> r.aggregation.variance > 0 && r.aggregation.clipped === nothing,
        run.history
    )
    @test FedFlux.asdict(run.history[1])["aggregation"]["senders"] == 5
end

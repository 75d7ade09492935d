# The generator and the Gaussian noise of private training.

include("../setup/normal.jl")

using FedFlux: Stream, add_gaussian!, keyed_random, normal_pairs, draw_words, next!

# RFC 8439, appendix A.1, test vectors 1 and 2: blocks 0 and 1 of the zero key and nonce.
const CHACHA20 = hex2bytes(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7" *
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586" *
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed" *
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)

@testset "the keystream is ChaCha20's, and its first key is erased" begin
    r = keyed_random(zeros(UInt64, 4))
    drawn = [next!(r) for _ = 1:12]
    @test reinterpret(UInt8, htol.(drawn)) == CHACHA20[33:end]
    @test reinterpret(UInt8, htol.(r.key)) == CHACHA20[1:32]
    @test !any(==(reinterpret(UInt64, CHACHA20[1:8])[1]), r.words)
    # The next 8 KiB are the keystream of that key.
    foreach(_ -> next!(r), 13:(FedFlux.KEYSTREAM_WORDS-4))
    second = keyed_random(collect(reinterpret(UInt64, CHACHA20[1:32])))
    @test [next!(r) for _ = 1:50] == [next!(second) for _ = 1:50]
end

@testset "no two secure generators agree, and none shows its key" begin
    draws = [rand(SecureRandom(), UInt64) for _ = 1:100]
    @test allunique(draws)
    r = SecureRandom()
    @test allunique(rand(r, UInt64, 100_000))
    @test repr(r) == "SecureRandom()"
end

@testset "uniform draws of $(typeof(r))" for r in
                                             (
    keyed_random(UInt64[1, 2, 3, 4]),
    Stream(1, :rules)
)
    # χ² over 256 values of each byte; its 0.999 quantile for 255 degrees is 330.5.
    words = [rand(r, UInt64) for _ = 1:50_000]
    for byte = 0:7
        counts = zeros(Int, 256)
        foreach(w -> counts[((w>>8byte)&0xff)+1] += 1, words)
        expected = length(words) / 256
        @test sum(abs2.(counts .- expected)) / expected < 330.5
    end
    u = rand(r, Float64, 10_000)
    @test all(0 .<= u .< 1) && abs(mean(u) - 0.5) < 0.02
    @test sort(shuffle!(r, collect(1:50))) == 1:50
end

@testset "Φ and Kolmogorov's statistic" begin
    @test Φ.([0, 1, -1.959963984540054]) ≈ [0.5, 0.8413447460685429, 0.025] rtol = 1e-12
    @test looks_normal(randn(Xoshiro(1), 10_000))
    # What a wrong generator would give
    @test !looks_normal(1.05 .* randn(Xoshiro(1), 10_000))
    @test !looks_normal(2sqrt(3) .* (rand(Xoshiro(1), 10_000) .- 0.5))
    @test !looks_normal(abs.(randn(Xoshiro(1), 10_000)))
end

@testset "Gaussian noise of $(typeof(r))" for r in
                                              (
    keyed_random(UInt64[5, 6, 7, 8]),
    Stream(2, :rules)
)
    for n in (1, 7, 16, 17, 40)       # whole vectors and rests
        v = add_gaussian!(zeros(Float32, n), 2.0, r)
        @test all(!iszero, v) && allunique(v)
        @test add_gaussian!(fill(3.0f0, n), 0.0, r) == fill(3.0f0, n)
    end
    z = add_gaussian!(zeros(Float32, 10_000), 1.0, r)
    @test looks_normal(z)
    @test looks_normal((add_gaussian!(ones(Float32, 10_000), 0.3, r) .- 1) ./ 0.3f0)
    # Pairs of one word, and neighbors, are independent.
    z = add_gaussian!(zeros(Float32, 400_000), 1.0, r)
    for lag in (1, 8, 16)
        a, b = z[1:(end-lag)], z[(1+lag):end]
        @test abs(cor(a, b)) < 4 / sqrt(length(a))
        @test abs(cor(a .^ 2, b .^ 2)) < 4 / sqrt(length(a))
    end
    # Tails: P(|z| > 3) = 0.0026998, P(|z| > 4) = 6.334e-5
    @test abs(count(v -> abs(v) > 3, z) - 1079.9) < 4 * sqrt(1079.9)
    @test abs(count(v -> abs(v) > 4, z) - 25.3) < 4 * sqrt(25.3)
end

@testset "Box and Muller's transform, to 1e-8" begin
    r = keyed_random(UInt64[9, 9, 9, 9])
    for _ = 1:1000
        w = draw_words(r)
        a, b = normal_pairs(w)
        for l = 1:8
            radius = sqrt(-2 * log(((w[l] >> 24) + 0.5) / 2.0^40))
            turn = ((w[l] & 0xffffff) + 0.5) / 2.0^24
            @test a[l] ≈ radius * cospi(2turn) atol = 1e-8
            @test b[l] ≈ radius * sinpi(2turn) atol = 1e-8
        end
    end
    # The ends: the largest and the smallest radius, the first and the last angle
    for word in (0x0000000000000000, typemax(UInt64), 0x0000000000ffffff)
        a, b = normal_pairs(FedFlux.Words64(word))
        @test all(isfinite, Tuple(a)) && all(isfinite, Tuple(b)) && abs(a[1]) < 7.6
    end
end

noise_bytes(v, r) = @allocated add_gaussian!(v, 1.0, r)

@testset "noise allocates nothing" begin
    v = zeros(Float32, 1001)
    for r in (SecureRandom(), Stream(1, :rules))
        noise_bytes(v, r)
        @test noise_bytes(v, r) == 0
    end
end

using FedFlux: mix64, next!, below!

@testset "SplitMix64's published outputs" begin
    r = Stream(UInt64(1234567))
    @test [next!(r) for _ = 1:5] ==
          [6457827717110365317, 3203168211198807973, 9817491932198370423,
        4593380528125082431, 16408922859458223821]
end

@testset "a stream depends on its four parts alone" begin
    draw(parts...) = rand(Stream(parts...), UInt64)
    @test draw(1, :batches, 2, 3) == draw(1, :batches, 2, 3)
    draws = Set(draw(s, p, r, c) for s = 0:2, p in (:batches, :cohort), r = 0:2, c = 0:2)
    @test length(draws) == 54
end

@testset "draws" begin
    r = Stream(3, :init)
    u = rand(copy(r), Float32, 10_000)
    @test all(0 .<= u .< 1) && abs(mean(u) - 0.5) < 0.02
    @test u[1] == Float32(next!(copy(r)) >> 40) * 2.0f0^-24
    @test abs(mean(randn(r, 10_000))) < 0.05
    @test sort(unique(below!(r, 7) for _ = 1:1000)) == 0:6
    @test sort(shuffle!(Stream(0, :cohort), collect(1:50))) == 1:50
    @test shuffle!(Stream(0, :cohort), collect(1:50)) != 1:50
end

using FedFlux: start, add!, finish

@testset "the mean is the weighted mean" begin
    updates = [randn(Xoshiro(i), Float32, 50) for i = 1:7]
    weights = [3, 1, 4, 1, 5, 9, 2]
    acc = start(Mean(), 7)
    for i = 1:7
        buffer = copy(updates[i])
        acc = add!(Mean(), acc, Update(; delta = buffer, extra = 2buffer), weights[i])
        fill!(buffer, NaN)      # the caller may reuse it
    end
    ū = finish(Mean(), acc)
    expected = sum(weights .* updates) / sum(weights)
    @test ū.delta ≈ expected rtol = 1e-6
    @test ū.extra ≈ 2expected rtol = 1e-6
    @test finish(Mean(), start(Mean(), 0)) === nothing
end

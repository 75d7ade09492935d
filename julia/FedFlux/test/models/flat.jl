using FedFlux: Layout, allfinite, arrays, fingerprint, flatten, scatter!, statistics

@testset "layout and order" begin
    model = Chain(Conv((3, 3), 1 => 2, relu), Flux.flatten, Dense(8 => 3))
    layout = Layout(model)
    @test [s.name for s in layout.slots] ==
          ["layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"]
    @test [s.dims for s in layout.slots] == [(3, 3, 1, 2), (2,), (3, 8), (3,)]
    @test layout.n == 18 + 2 + 24 + 3
    θ = flatten(model)
    @test θ == Optimisers.destructure(model)[1]
    @test arrays(θ, layout) == collect(Optimisers.trainables(model))
    scatter!(Optimisers.trainables(model), 2θ)
    @test flatten(model) == 2θ
end

@testset "statistics are the arrays that are not trained" begin
    model = Chain(Dense(2 => 3), BatchNorm(3), Dense(3 => 1))
    @test length.(statistics(model)) == [3, 3]
    @test statistics(model)[1] === model[2].μ
    @test isempty(statistics(Chain(Dense(2 => 3))))
end

@testset "errors name the parameter that can't be trained" begin
    @test occursin("layers.1.weight", message(() -> Layout(f64(Chain(Dense(2 => 3))))))
    @test occursin("no trainable parameters", message(() -> Layout(Chain(relu))))
end

@testset "fingerprint" begin
    # sha256 of the bytes 00 00 80 3f, 1.0 as a little-endian Float32
    @test fingerprint([1.0f0]) ==
          "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c"
end

@testset "finite vectors" begin
    @test allfinite(Float32[]) && allfinite([floatmax(Float32), -1, 0]) && allfinite([1, 2])
    for x in (NaN32, Inf32, -Inf32), i in (1, 20, 37)
        v = ones(Float32, 37)
        v[i] = x
        @test !allfinite(v) && !allfinite(view(v, 1:37))
    end
end

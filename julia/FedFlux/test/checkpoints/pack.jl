using FedFlux: pack, unpack, read_tensors, write_tensors, JSON

roundtrip(x) = (
    arrays = Dict{String,Array}();
    text = JSON.json(pack(x, "x", arrays));
    unpack(JSON.parse(text), read_tensors(write_tensors(arrays)))
)

@testset "states come back exactly, with their types" begin
    xs = (nothing, true, -3, 2^62, 0.1, -0.0, 1e300, 5e-324, Inf, NaN, 0.1f0, Float16(0.1),
        0x07, typemax(UInt64), "a \"quoted\" ü", :word, (), (;), (1, (2.0, "b")),
        (; a = 1, b = (; c = [1.0f0, NaN32, -0.0f0])), Float32[], [1 2; 3 4],
        rand(Float32, 2, 3, 4), [true, false], BitVector([1, 0, 1]),
        UInt8[1, 2], ["a", "b"], Any[1, "a", nothing], [(; client = 1, reason = "x")],
        Dict(3 => [1.0f0], 1 => Float32[]), Dict(:a => 1), fill(1.0f0))
    for x in xs
        y = roundtrip(x)
        @test isequal(x, y) && (x isa AbstractArray{Any} || typeof(x) == typeof(y))
    end
    values = reinterpret(Float64, rand(Xoshiro(1), UInt64, 1000))
    @test isequal(roundtrip(Tuple(values)), Tuple(values))
end

@testset "anything else is refused by name" begin
    @test occursin(
        "can't hold rule/2/f, a",
        message(() -> pack((1, (; f = sin)), "rule", Dict{String,Array}()))
    )
    @test occursin("Xoshiro", message(() -> pack(Xoshiro(1), "rule", Dict{String,Array}())))
end

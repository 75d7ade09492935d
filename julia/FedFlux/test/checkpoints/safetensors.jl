using FedFlux: read_tensors, write_tensors, JSON

@testset "safetensors: sizes and offsets are checked" begin
    bytes = write_tensors(Dict("b" => Float32[1 2; 3 4], "a" => UInt8[7]))
    @test read_tensors(bytes) == Dict("b" => Float32[1 2; 3 4], "a" => UInt8[7])
    n = only(reinterpret(UInt64, bytes[1:8]))
    header(s, data) =
        vcat(reinterpret(UInt8, [UInt64(ncodeunits(s))]), Vector{UInt8}(s), data)
    entry(
        dtype,
        shape,
        offsets
    ) = "{\"a\":{\"dtype\":\"$dtype\",\"shape\":$shape,\"data_offsets\":$offsets}}"
    @test read_tensors(header(entry("F32", "[1]", "[0,4]"), zeros(UInt8, 4))) ==
          Dict("a" => [0.0f0])
    @test read_tensors(header(entry("F32", "[]", "[0,4]"), zeros(UInt8, 4)))["a"] ==
          fill(0.0f0)
    for (text, data, words) in ((entry("F32", "[1]", "[0,4]"), 3, "shape and offsets"),
        (entry("F32", "[1]", "[0,4]"), 5, "gaps"),
        (entry("F32", "[2]", "[0,4]"), 4, "does not fit"),
        (entry("F31", "[1]", "[0,4]"), 4, "dtype"),
        (entry("F32", "[-1]", "[0,4]"), 4, "shape"),
        (entry("F32", "[$(2^61),4]", "[0,0]"), 0, "shape"),
        (entry("F32", "[$(big(2)^90),0]", "[0,0]"), 0, "shape"),
        (entry("F32", "[1]", "[4,0]"), 4, "offsets"),
        (entry("F32", "\"x\"", "[0,4]"), 4, "shape"), ("[]", 0, "no JSON object"),
        ("{", 0, "JSON"),
        ("{\"a\":3}", 0, "dtype"), (entry("BOOL", "[1]", "[0,1]"), 1, nothing))
        data = zeros(UInt8, data)
        words === nothing ?
        (@test read_tensors(header(text, data)) == Dict("a" => [false])) :
        (@test occursin(words, message(() -> read_tensors(header(text, data)))))
    end
    @test occursin(
        "boolean",
        message(() -> read_tensors(header(entry("BOOL", "[1]", "[0,1]"), UInt8[2])))
    )
    @test occursin("claims", message(() -> read_tensors(vcat(fill(0xff, 8), bytes[9:end]))))
    bytes2(offsets) = "{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":$offsets}"
    overlap = "{\"a\":$(bytes2("[0,2]")),\"b\":$(bytes2("[1,3]"))}"
    @test occursin("overlap", message(() -> read_tensors(header(overlap, zeros(UInt8, 3)))))
end

@testset "JSON that is nested too deeply is refused, whatever stands in texts" begin
    deep(n) = "["^n * "]"^n
    @test FedFlux.parse_json("it", deep(64)) isa Vector
    for text in (deep(65), "{\"a\":"^100_000, "["^10_000_000)
        why = message(() -> FedFlux.parse_json("it", text))
        @test occursin("it is nested deeper than 64", why)
    end
    quoted = JSON.json(["[[[[{{{\\\"[[["^100, "\\"])
    @test FedFlux.depth(codeunits(quoted)) == 1
    @test FedFlux.parse_json("it", quoted) == JSON.parse(quoted)
    header = Vector{UInt8}("{\"__metadata__\":" * deep(100_000) * "}")
    bytes = [reinterpret(UInt8, [UInt64(length(header))]); header]
    @test occursin("nested", message(() -> read_tensors(bytes)))
end

using FedFlux: DECLARED_OPTIONS, JSON, Options, SPECS, load_checkpoint, load_npz, pack
using FedFlux: parse_spec, read_tensors, sealed, unpack, write_tensors

# Input that is damaged at random is read or gives a FedFluxError, never another exception.
# The environment variable FEDFLUX_FUZZ multiplies the number of trials.
const MORE = parse(Int, get(ENV, "FEDFLUX_FUZZ", "1"))

function mutated(rng, bytes)
    b = copy(bytes)
    for _ = 1:rand(rng, 1:4)
        isempty(b) && break
        kind, i = rand(rng, 1:5), rand(rng, eachindex(b))
        kind == 1 ? (b[i] = rand(rng, UInt8)) :
        kind == 2 ? (b[i] ⊻= 0x01 << rand(rng, 0:7)) :
        kind == 3 ? resize!(b, i) :
        kind == 4 ? deleteat!(b, i) : splice!(b, i:(i-1), rand(rng, UInt8, rand(rng, 1:8)))
    end
    return b
end

"Whether `f` ends, or ends with a FedFluxError."
function tame(f)
    try
        f()
        return true
    catch err
        err isa FedFluxError && return true
        @error "not a FedFluxError" err
        return false
    end
end

@testset "safetensors" begin
    rng = Xoshiro(1)
    good = write_tensors(
        Dict("a" => rand(rng, Float32, 3, 4), "b" => [true, false],
            "c" => UInt8[], "d" => [1, 2])
    )
    for _ = 1:1000MORE
        bytes = mutated(rng, good)
        @test tame(() -> read_tensors(bytes))
    end
    for _ = 1:200MORE
        bytes = rand(rng, UInt8, rand(rng, 0:64))
        @test tame(() -> read_tensors(bytes))
    end
end

@testset "npz files" begin
    rng = Xoshiro(2)
    mktempdir() do dir
        path = joinpath(dir, "good.npz")
        d = FedFlux.digits()
        NPZ.npzwrite(path, Dict("x_train" => d.x[:, :, 1, :], "y_train" => d.y))
        good = read(path)
        bad = joinpath(dir, "bad.npz")
        for _ = 1:30MORE
            # the headers at the beginning and the zip's directory at the end
            b = copy(good)
            range = rand(rng, (1:200, (length(b)-600):length(b)))
            for _ = 1:3
                b[rand(rng, range)] = rand(rng, UInt8)
            end
            write(bad, rand(rng) < 0.2 ? b[1:rand(rng, 1:length(b))] : b)
            @test tame(() -> load_npz(bad))
        end
        write(bad, "")
        @test tame(() -> load_npz(bad))
    end
end

@testset "checkpoints with a correct checksum of wrong content" begin
    rng = Xoshiro(3)
    mktempdir() do dir
        FedFlux.run(; dataset = "digits", model = "softmax_regression", clients = 3,
            rounds = 1, checkpoint = dir)
        rm(FedFlux.json_path(dir, 0))
        path = FedFlux.json_path(dir, 1)
        content = "{" * read(path, String)[(ncodeunits("{\"sha256\":\"\",")+65):end]
        for _ = 1:60MORE
            write(path, sealed(String(mutated(rng, Vector{UInt8}(content)))))
            @test tame(() -> load_checkpoint(dir; warn = Returns(nothing)))
            resumed() = FedFlux.run(; resume = dir, rounds = 1)
            @test tame(() -> Base.redirect_stdio(resumed; stderr = devnull))
        end
    end
end

@testset "packed states" begin
    rng = Xoshiro(4)
    arrays = Dict{String,Array}()
    state = (; a = 1, b = (2.5f0, :c, "d"), e = [1.0f0], f = Dict(1 => [2.0]),
        g = Any[1, nothing])
    text = Vector{UInt8}(JSON.json(pack(state, "x", arrays)))
    for _ = 1:500MORE
        bad = String(mutated(rng, text))
        parsed = try
            JSON.parse(bad)
        catch
            continue
        end
        @test tame(() -> unpack(parsed, arrays))
    end
end

@testset "texts that name an object" begin
    rng = Xoshiro(5)
    letters = ['a':'z'; '0':'9'; collect("()[]=,.\"' -+_\n\0é∞")]
    values = ("1", "-1", "1e400", "true", "[1,2]", "\"", "nan", "", "1=2", "0.5")
    for (kind, known) in SPECS, name in keys(known), _ = 1:20MORE
        declared = collect(keys(get(known[name], "params", Dict())))
        parameter() = rand(rng, [declared; "x"]) * "=" * rand(rng, values)
        text = name * "(" * join((parameter() for _ = 1:rand(rng, 0:3)), ",") * ")"
        @test tame(() -> parse_spec(kind, text))
        @test tame(() -> parse_spec(kind, String(mutated(rng, Vector{UInt8}(text)))))
        @test tame(() -> parse_spec(kind, String(rand(rng, letters, rand(rng, 0:40)))))
    end
    @test tame(() -> parse_spec("aggregate", "("^100_000))
end

@testset "options of any type" begin
    rng = Xoshiro(6)
    values = (nothing, 1, -1, 0, 1.5, NaN, Inf, "x", "", "\0", true, [], [1], ["a"],
        [nothing], Dict(), typemax(Int), big(2)^70, :a, 'c', 1 // 2, missing)
    for name in keys(DECLARED_OPTIONS), value in values
        @test tame(() -> Options(Dict(Symbol(name) => value)))
    end
end

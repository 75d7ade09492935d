using FedFlux: Mapped, getobs, normalise, normalise_federated, standardize
using Mmap: Mmap

"The values of an array, in a file that is mapped."
function in_a_file(a)
    path, io = mktemp()
    write(io, a)
    close(io)
    return open(file -> Mmap.mmap(file, typeof(a), size(a)), path)
end

"Images and labels that a model can learn, as bytes."
function learnable(n, rng = Xoshiro(1))
    y = rand(rng, 0:3, n)
    x = rand(rng, UInt8(0):UInt8(99), 6, 5, 2, n)
    for k = 1:n
        x[y[k]+1, :, 1, k] .+= UInt8(50)
    end
    return x, y
end

@testset "a mapped array is what it is in memory" begin
    x, y = learnable(30)
    for (T, kind) in ((UInt8, "uint8"), (Float32, "float32"), (Float64, "float64"))
        values = T == UInt8 ? x : T.(x) ./ T(7)
        mapped = Dataset(Mapped(in_a_file(values)), y, Mapped(values), y)
        plain = Dataset(values, y, values, y)
        @test mapped.dtype == plain.dtype == kind
        @test mapped.x isa Mapped && size(mapped.x) == size(plain.x) && mapped.x == plain.x
        for d in (normalise(mapped, 0.3, 0.7), normalise(mapped, [0.1, 0.4], [1.5, 2]))
            @test d.x isa Mapped{Float32}
        end
        @test normalise(mapped, [0.1, 0.4], [1.5, 2]).x ==
              normalise(plain, [0.1, 0.4], [1.5, 2]).x
        clients(d) = Clients(d.x, y, [1:10, 11:30])
        ours, test, moments = normalise_federated(clients(mapped), mapped.xtest)
        theirs, plain_test, plain_moments = normalise_federated(clients(plain), plain.xtest)
        @test ours.x == theirs.x && test == plain_test && moments == plain_moments
        @test getobs(ours.x, [7, 3]) == getobs(theirs.x, [7, 3])
    end
    parts = Mapped([x[:, :, :, 1:4], x[:, :, :, 5:5], x[:, :, :, 6:30]])
    @test parts == x && getobs(parts, [30, 4, 5, 6]) == x[:, :, :, [30, 4, 5, 6]]
    turned = Mapped(PermutedDimsArray(permutedims(x, (3, 1, 2, 4)), (2, 3, 1, 4)))
    @test turned == x
    gray = Dataset(Mapped(x[:, :, 1, :]), y, nothing, nothing)
    @test gray.x == x[:, :, 1:1, :] ./ 255.0f0
    @test_throws BoundsError getobs(parts, [31])
end

@testset "a run on mapped arrays has the numbers of one in memory" begin
    x, y = learnable(240)
    train, test = 1:200, 201:240
    part(range) = x[:, :, :, range]
    options(; more...) = (; model = "mlp", hidden = [8], clients = 10, rounds = 2,
        clients_per_round = 3, batch_size = 5, seed = 4, more...)
    function fingerprints(; more...)
        held = (in_a_file(part(train)), in_a_file(part(test)))
        joined = [part(1:90), part(91:91), part(92:200)]
        sets = [
            Dataset(given, y[train], last_given, y[test])
            for (given, last_given) in ((part(train), part(test)), Mapped.(held),
                (Mapped(joined), part(test)))
        ]
        return [
            FedFlux.run(; dataset, options(; more...)...).params_sha256
            for dataset in sets
        ]
    end
    @test allequal(fingerprints())
    @test allequal(
        fingerprints(normalise = "federated", augment = "shift(pixels=1)",
            client_test = 0.2)
    )
    data() = Dataset(Mapped(part(train)), y[train], nothing, nothing)
    why(; more...) = message(() -> FedFlux.run(; dataset = data(), options(; more...)...))
    @test occursin("partition noise copies all samples", why(partition = "noise"))
    @test occursin("workers copies all samples", why(workers = 1))
    @test occursin("an attack on data copies",
        why(attack = "label_flip", attackers = 1))
end

@testset "mapped tokens, and a resume" begin
    tokens = rand(Xoshiro(3), Int32(0):Int32(9), 6, 40)
    y = Int.(tokens[[2:6; 1], :])
    folder = mktempdir()
    data(x) = Dataset(x, y, nothing, nothing)
    run(x; more...) = FedFlux.run(; dataset = data(x), model = "gru",
        hidden = [4], embedding = 3, clients = 4, batch_size = 4, more...)
    whole = run(Mapped(in_a_file(tokens)); rounds = 2)
    @test whole.params_sha256 == run(tokens; rounds = 2).params_sha256
    run(Mapped(tokens); rounds = 1, checkpoint = folder)
    again = run(Mapped(tokens); rounds = 2, resume = folder)
    @test again.params_sha256 == whole.params_sha256
    tokens[1] = 9 - tokens[1]
    @test occursin("data", message(() -> run(Mapped(tokens); rounds = 3, resume = folder)))
end

@testset "what can't be mapped" begin
    why(x) = message(() -> Dataset(Mapped(x), [0, 1], nothing, nothing))
    @test occursin("there are no arrays", why(Matrix{Float32}[]))
    @test occursin("expected numbers", why([zeros(Complex{Float32}, 2, 2)]))
    @test occursin("several types", why(AbstractArray[zeros(Float32, 2, 1), zeros(2, 1)]))
    @test occursin("expected 2 × n", why([zeros(Float32, 2, 1), zeros(Float32, 3, 1)]))
    @test occursin("has 1 dimensions", why(zeros(Float32, 2)))
    @test occursin("64 bits", why(zeros(UInt64, 2, 2)))
    @test occursin("3 samples and y_train 2", why(zeros(Float32, 2, 3)))
end

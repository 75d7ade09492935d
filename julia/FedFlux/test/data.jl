using FedFlux: IID, partition, indices, nsamples, labelcounts, load_npz, load_dataset, normalise, NPZ

@testset "iid gives everyone an equal share, once each" begin
    parts = IID()(zeros(103), 10, Stream(5, :partition))
    @test length.(parts) == [11, 11, 11, 10, 10, 10, 10, 10, 10, 10]
    @test sort(reduce(vcat, parts)) == 1:103
    @test parts != IID()(zeros(103), 10, Stream(6, :partition))
    @test parts == IID()(zeros(103), 10, Stream(5, :partition))
end

@testset "clients" begin
    x, y = rand(Float32, 2, 6), [0, 1, 2, 0, 1, 2]
    clients = Clients(x, y, [[1, 4], [2, 3, 5, 6]])
    @test length(clients) == 2 && nsamples(clients, 2) == 4 && indices(clients, 1) == [1, 4]
    @test labelcounts(clients, 3) == [2 0; 0 2; 0 2]
    joined = Clients([(x[:, 1:2], y[1:2]), (x[:, 3:6], y[3:6])])
    @test joined.x == x && joined.y == y && indices(joined, 2) == 3:6
    @test occursin("client 2 holds no samples", message(() -> Clients(x, y, [[1], Int[]])))
    @test occursin("sample 9", message(() -> Clients(x, y, [[1, 9]])))
    @test occursin("6 samples and 5 targets", message(() -> Clients(x, y[1:5], [[1]])))
    @test occursin("clients is 7", message(() -> partition(IID(), x, y, 7, 0)))
end

@testset "arrays are checked" begin
    x, y = rand(Float32, 5, 4), [0, 1, 0, 1]
    @test Dataset(rand(UInt8, 3, 2, 4), y, nothing, nothing).x |> size == (3, 2, 1, 4)
    @test Dataset(fill(0xff, 3, 2, 4), y, nothing, nothing).x |> maximum == 1
    @test Dataset(rand(Int32, 5, 4), y, nothing, nothing).x isa Matrix{Int}      # tokens, perhaps
    @test occursin("4 samples and y_train 3", message(() -> Dataset(x, y[1:3], nothing, nothing)))
    @test occursin("NaN", message(() -> Dataset(fill(NaN32, 5, 4), y, nothing, nothing)))
    @test occursin("x_test holds samples of size (6,)", message(() -> Dataset(x, y, rand(Float32, 6, 4), y)))
    @test occursin("only one of them", message(() -> Dataset(x, y, x, nothing)))
    @test occursin("dimensions", message(() -> Dataset(rand(Float32, 4), y, nothing, nothing)))
end

@testset "normalise" begin
    d = normalise(Dataset(ones(Float32, 2, 3), [0, 1, 0], 3ones(Float32, 2, 1), [0]), 1, 2)
    @test all(iszero, d.x) && all(==(1), d.xtest)
    @test normalise(d, nothing, nothing) === d
end

@testset "npz" begin
    mktempdir() do dir
        path = joinpath(dir, "a.npz")
        x = rand(UInt8, 4, 3, 2)      # N, H, W
        NPZ.npzwrite(path, Dict("x_train" => x, "y_train" => [0, 1, 0, 1], "x_test" => x[1:2, :, :], "y_test" => [0, 1]))
        d = load_npz(path)
        @test size(d.x) == (2, 3, 1, 4) && d.x[1, 2, 1, 3] == x[3, 2, 1] / 255.0f0
        NPZ.npzwrite(path, Dict("x_train" => x))
        @test occursin("lacks the array y_train", message(() -> load_npz(path)))
        write(path, "no archive")
        @test occursin("can't be read", message(() -> load_npz(path)))
    end
    @test occursin("there is no file", message(() -> load_dataset("missing.npz")))
end

@testset "digits" begin
    d = FedFlux.digits()
    @test size(d.x) == (8, 8, 1, 1437) && size(d.xtest) == (8, 8, 1, 360)
    @test extrema(d.x) == (0, 1) && sort(unique(d.y)) == 0:9
end

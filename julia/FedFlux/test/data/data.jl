using FedFlux: IID, indices, labelcounts, load_dataset, load_npz, normalise
using FedFlux: normalise_federated, nsamples, partition, set_aside

@testset "iid gives equal shares, each sample once" begin
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

@testset "a million clients are made in the time of a million indices" begin
    x, y = zeros(Float32, 1, 1_000_000), zeros(Int, 1_000_000)
    make(n) = @elapsed Clients(x, y, [k:k for k = 1:n])
    make(10)
    @test make(1_000_000) < 5                                # quadratic: minutes
    @test length(Clients(x, y, [[k] for k = 1:1_000_000])) == 1_000_000
    pairs = [(x[:, k:k], y[k:k]) for k = 1:100_000]
    @test (@elapsed Clients(pairs)) < 5
    why = message(() -> Clients([(x[:, 1:2], y[1:2]), (zeros(Float32, 2, 2), y[1:2])]))
    @test occursin("x of client 2 has size (2, 2); expected 1 × n", why)
end

@testset "samples set aside for the server" begin
    x, y = rand(Float32, 2, 60), rand(0:2, 60)
    clients = Clients(x, y, [1:20, 21:30, 31:55])      # nobody holds the last five samples
    @test isempty(clients.root)
    apart = set_aside(clients, 12, 5)
    @test apart.x === x && apart.y === y && length(apart) == 3
    @test length(apart.root) == 12 && issorted(apart.root) && allunique(apart.root)
    @test all(k -> indices(apart, k) == setdiff(indices(clients, k), apart.root), 1:3)
    @test sort([apart.order; apart.root]) == 1:55
    @test set_aside(clients, 12, 5).root == apart.root != set_aside(clients, 12, 6).root
    @test first(normalise_federated(apart, nothing)).root == apart.root
    @test Clients(x, y, apart.order, apart.starts).root == Int[]
    @test occursin("root is 55, and there are 55", message(() -> set_aside(clients, 55, 0)))
end

@testset "setting samples aside empties no client and keeps repeats" begin
    x, y = rand(Float32, 2, 12), rand(0:2, 12)
    twice = Clients(x, y, [[1, 1, 2, 3, 2], [4, 5, 5, 6]])
    for seed = 0:20
        apart = set_aside(twice, 3, seed)
        @test all(1:2) do k
            indices(apart, k) == filter(!in(apart.root), indices(twice, k))
        end
    end
    # clients with one sample, or with one sample many times, and a large one
    lonely = Clients(x, y, [[1], [2, 2, 2], 3:12])
    for seed = 0:20
        apart = set_aside(lonely, 9, seed)
        @test indices(apart, 1) == [1] && indices(apart, 2) == [2, 2, 2]
        @test length(indices(apart, 3)) == 1 && length(apart.root) == 9
    end
    # a sample that two clients hold
    shared = Clients(x, y, [[1, 2], [2, 3], [3, 1]])
    @test all(seed -> length(set_aside(shared, 1, seed)) == 3, 0:20)
    @test occursin(
        "root is 10, and only 9 samples can be set aside, since each of the 3 clients",
        message(() -> set_aside(lonely, 10, 0))
    )
end

@testset "arrays are checked" begin
    x, y = rand(Float32, 5, 4), [0, 1, 0, 1]
    @test Dataset(rand(UInt8, 3, 2, 4), y, nothing, nothing).x |> size == (3, 2, 1, 4)
    @test Dataset(fill(0xff, 3, 2, 4), y, nothing, nothing).x |> maximum == 1
    # integers may be tokens
    @test Dataset(rand(Int32, 5, 4), y, nothing, nothing).x isa Matrix{Int}
    why(x, y, xtest = nothing, ytest = nothing) = message(() -> Dataset(x, y, xtest, ytest))
    @test occursin("4 samples and y_train 3", why(x, y[1:3]))
    @test occursin("NaN", why(fill(NaN32, 5, 4), y))
    @test occursin("x_test holds samples of size (6,)", why(x, y, rand(Float32, 6, 4), y))
    @test occursin("only one of them", why(x, y, x, nothing))
    @test occursin("dimensions", why(rand(Float32, 4), y))
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
        NPZ.npzwrite(
            path,
            Dict("x_train" => x, "y_train" => [0, 1, 0, 1],
                "x_test" => x[1:2, :, :], "y_test" => [0, 1])
        )
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

"An .npy file's bytes: a header that claims this shape of Float32, and then `data`."
function claiming(shape, data; descr = "<f4")
    text = "{'descr': '$descr', 'fortran_order': False, 'shape': $shape, }"
    text *= " "^(118 - length(text) - 1) * "\n"
    return [0x93; codeunits("NUMPY"); 0x01; 0x00; UInt8(length(text)); 0x00;
        codeunits(text); data]
end

@testset "an .npz file takes no memory that its bytes don't justify" begin
    Zip = NPZ.ZipFile
    mktempdir() do dir
        path = joinpath(dir, "x.npz")
        function written(f)
            w = Zip.Writer(path)
            f(w)
            close(w)
        end
        add(w, name, bytes) =
            write(Zip.addfile(w, "$name.npy"; method = Zip.Deflate), bytes)
        both(x) = written(w -> (add(w, "x_train", x); add(w, "y_train", labels)))
        labels = claiming("(4,)", zeros(UInt8, 16))
        values = reinterpret(UInt8, Float32.(1:8))
        both(claiming("(4, 2)", values))
        @test FedFlux.load_npz(path).x == [1 3 5 7; 2 4 6 8]
        # Shapes that the bytes don't hold, of which one overflows an Int.
        for shape in ("(1000000000, 10)", "($(2^62), 4)", "(4, 3)", "(4,)")
            both(claiming(shape, values))
            FedFlux.load_npz                      # compiled by the first call
            why = message(() -> FedFlux.load_npz(path))
            @test occursin("claims the shape", why) && occursin("has 32 bytes", why)
            @test (@allocated message(() -> FedFlux.load_npz(path))) < 2^22
        end
        for descr in ("|O", "<f4', 'x': '", "")
            written(w -> add(w, "x_train", claiming("(4, 2)", values; descr)))
            @test occursin("can't be read as .npz", message(() -> FedFlux.load_npz(path)))
        end
        # The archive says that two gigabytes are packed into these bytes.
        both(claiming("(4, 2)", values))
        bytes = read(path)
        entry = first(findfirst(UInt8[0x50, 0x4b, 0x01, 0x02], bytes))
        bytes[(entry+24):(entry+27)] = reinterpret(UInt8, [UInt32(2)^31])
        write(path, bytes)
        @test occursin("unpacks to 2147483", message(() -> FedFlux.load_npz(path)))
        @test (@allocated message(() -> FedFlux.load_npz(path))) < 2^22
    end
end

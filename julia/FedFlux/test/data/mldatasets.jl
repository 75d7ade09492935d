# MNIST by a process of its own, in a project of its own: with a package that stands in for
# MLDatasets.jl, whose files are too large for a test.

const UUID = "eb30cadb-4394-5ae3-aed4-317e484a6458"
const STAND_IN = """
module MLDatasets
struct MNIST
    features::Array{Float32,3}
    targets::Vector{Int}
end
function MNIST(; Tx, split, dir)
    dir == "/none" && error("no files in \$dir")
    println("what a download prints")
    n = split === :train ? 3 : 2
    features = [Tx(1 / 3 + i + 10j + 100k) for i = 1:4, j = 1:5, k = 1:n]
    return MNIST(features, collect(1:n))
end
const FashionMNIST = MNIST
struct Photographs
    features::Array{UInt8,4}
    targets::Any
end
pixels(n, Tx) = Tx[i + 10j + 100c + k for i = 0:3, j = 0:4, c = 0:1, k = 1:n]
photographs(Tx, split, targets) =
    (n = split === :train ? 3 : 2; Photographs(pixels(n, Tx), targets(n)))
CIFAR10(; Tx, split, dir) = photographs(Tx, split, n -> collect(1:n))
CIFAR100(; Tx, split, dir) =
    photographs(Tx, split, n -> (coarse = zeros(Int, n), fine = collect(1:n)))
SVHN2(; Tx, split, dir) = photographs(Tx, split, n -> collect(8 .+ (1:n)))
function EMNIST(part; Tx, split, dir)
    part === :letters || error("part \$part")
    d = CIFAR10(; Tx, split, dir)
    return (features = d.features[:, :, 1, :], d.targets)
end
end
"""

"A project that has the stand-in."
function project(folder)
    package = mkpath(joinpath(folder, "MLDatasets", "src"))
    write(joinpath(package, "MLDatasets.jl"), STAND_IN)
    write(joinpath(dirname(package), "Project.toml"),
        "name = \"MLDatasets\"\nuuid = \"$UUID\"\nversion = \"0.7.0\"\n")
    write(joinpath(folder, "Project.toml"), "[deps]\nMLDatasets = \"$UUID\"\n")
    write(
        joinpath(folder, "Manifest.toml"),
        "manifest_format = \"2.0\"\n\n" *
        "[[deps.MLDatasets]]\npath = \"MLDatasets\"\nuuid = \"$UUID\"\n" *
        "version = \"0.7.0\"\n"
    )
    return folder
end

@testset "a data set by a process of its own" begin
    mktempdir() do folder
        project(folder)
        for name in ("mnist", "fashionmnist"), dir in (nothing, folder)
            d = FedFlux.mldataset_apart(name, "", dir, folder)
            @test d.name == name
            @test size(d.x) == (4, 5, 1, 3) && size(d.xtest) == (4, 5, 1, 2)
            @test d.x[4, 2, 1, 3] === Float32(1 / 3 + 4 + 20 + 300)     # the same bits
            @test d.y == [1, 2, 3] && d.ytest == [1, 2]
        end
        for (name, part, y) in (("cifar10", "", 1:3), ("cifar100", "", 1:3),
            ("svhn", "", [9, 0, 1]), ("emnist", "letters", 1:3))
            d = FedFlux.mldataset_apart(name, part, nothing, folder)
            @test d.dtype == "uint8" && d.y == y && size(d.xtest)[4] == 2
            @test d.x[4, 2, 1, 3] == Float32(3 + 10 + 3) / 255
            @test size(d.x) == (4, 5, part == "" ? 2 : 1, 3)
        end
        @test_throws "no files in /none" FedFlux.mldataset_apart(
            "mnist",
            "",
            "/none",
            folder
        )
        @test !haskey(Base.loaded_modules, FedFlux.MLDATASETS)
        # Where the front puts it, beside the active project.
        before = Base.active_project()
        try
            mkpath(joinpath(folder, "env"))
            write(joinpath(folder, "env", "Project.toml"), "")
            mv(project(mktempdir()), joinpath(folder, "env", "mldatasets"))
            Base.set_active_project(joinpath(folder, "env", "Project.toml"))
            @test first(FedFlux.load_dataset("mnist")).y == [1, 2, 3]
            @test occursin("no files in /none",
                message(() -> FedFlux.load_dataset("mnist"; dir = "/none")))
        finally
            Base.set_active_project(before)
        end
    end
end

# The data sets that MLDatasets.jl downloads and reads.

const MLDATASETS =
    Base.PkgId(Base.UUID("eb30cadb-4394-5ae3-aed4-317e484a6458"), "MLDatasets")

"""
    mldataset(Val(name), part, dir) -> Dataset

Load a data set of datasets.toml, such as `:mnist`, or a `part` of it, from the folder
`dir`. The MLDatasets extension adds the methods.
"""
function mldataset end

"""
The Julia project beside the core's that holds MLDatasets alone: the versions that it needs
are not those that the core was compiled with. The Python front makes it.
"""
function mldatasets_project()
    project = Base.active_project()
    return project === nothing ? "" : joinpath(dirname(project), "mldatasets")
end

function load_mldataset(name, part, dir)
    dir === nothing || check_files(name, part, dir)
    here =
        haskey(Base.loaded_modules, MLDATASETS) ||
        Base.locate_package(MLDATASETS) !== nothing
    here || isfile(joinpath(mldatasets_project(), "Project.toml")) ||
        fail("dataset ", name, " needs the package MLDatasets, which this environment ",
            "lacks: `using Pkg; Pkg.add(\"MLDatasets\")`")
    try
        here || return mldataset_apart(name, part, dir, mldatasets_project())
        haskey(Base.loaded_modules, MLDATASETS) || Base.require(MLDATASETS)
        return Base.invokelatest(mldataset, Val(Symbol(name)), part, dir)
    catch err
        err isa InterruptException && rethrow()
        reason = first_line(err)
        fail("dataset ", name, " is not in ", dir === nothing ? "MLDatasets' cache" : dir,
            " and could not be downloaded, or its files can't be read (",
            first(reason, 300), "); expected its files, such as ",
            first(first(files_of(name, part))), ", or an internet connection")
    end
end

"""
The files of a data set in its folder, as MLDatasets expects them, and the most bytes that
each may have. MNIST's may be there without .gz.
"""
files_of(name, part) =
    name == "cifar10" ?
    [
        ["cifar-10-batches-bin/data_batch_$i.bin" => 30_730_000 for i = 1:5]
        "cifar-10-batches-bin/test_batch.bin" => 30_730_000
    ] :
    name == "cifar100" ?
    [
        "cifar-100-binary/train.bin" => 153_700_000,
        "cifar-100-binary/test.bin" => 30_740_000,
        "cifar-100-binary/fine_label_names.txt" => 10^5,
        "cifar-100-binary/coarse_label_names.txt" => 10^5
    ] :
    name == "emnist" ? ["matlab/emnist-$part.mat" => 10^9] :
    name == "svhn" ? ["train_32x32.mat" => 10^9, "test_32x32.mat" => 10^9] :
    ["train-images-idx3-ubyte.gz" => 10^9]

"Throw if a file of the data set in `dir` is missing or too large; MNIST's have more names."
function check_files(name, part, dir)
    name in ("mnist", "fashionmnist") && return
    for (file, most) in files_of(name, part)
        path = data_file(name, dir, file; most)
        endswith(file, ".bin") && filesize(path) < most &&
            fail("dataset ", name, ": ", path,
                " has ", filesize(path), " bytes; expected ", most)
    end
end

# What a process of its own runs: it writes the arrays, four sizes and values, to a file.
const EXPORT = """
include(ARGS[1])
x, y, xtest, ytest = ReadMLDatasets.read_arrays(ARGS[2], ARGS[3], get(ARGS, 5, nothing))
open(ARGS[4], "w") do io
    for a in (x, xtest)
        write(io, Int64(eltype(a) == UInt8), Int64(ndims(a)), Int64[size(a)...], a)
    end
    for a in (y, ytest)
        write(io, Int64(length(a)), Array{Int64}(a))
    end
end
"""

"""
Load a data set by a process of its own, in a project where MLDatasets is. Without a system
image of the core, which would bring its own versions.
"""
function mldataset_apart(name, part, dir, project)
    reader = joinpath(pkgdir(FedFlux), "ext", "read_mldatasets.jl")
    julia = joinpath(Sys.BINDIR, Base.julia_exename())
    more = dir === nothing ? String[] : String[abspath(expanduser(dir))]
    return mktempdir() do folder
        file = joinpath(folder, "arrays")
        said = IOBuffer()
        options = `--project=$project --startup-file=no`
        command = `$julia $options -e $EXPORT $reader $name $part $file $more`
        alone = ignorestatus(addenv(command, "JULIA_LOAD_PATH" => nothing))
        done = Base.run(pipeline(alone; stdout = said, stderr = said))
        success(done) || error(error_in(String(take!(said))))
        open(io -> read_dataset(io, name), file)
    end
end

"The error that a process printed, in a line."
function error_in(text)
    lines = filter(startswith("ERROR: "), split(text, '\n'))
    isempty(lines) && return "the process that loads it failed"
    return chopprefix(first(lines), "ERROR: ")
end

function read_dataset(io, name)
    x, xtest = (read_images(io) for _ = 1:2)
    y, ytest = (read_values(io, Int64, 1) for _ = 1:2)
    return Dataset(x, y, xtest, ytest; name)
end

function read_images(io)
    bytes, dimensions = read(io, Int64) == 1, read(io, Int64)
    dimensions in 3:4 || fail("an array of size ", dimensions, "d")
    return read_values(io, bytes ? UInt8 : Float32, dimensions)
end

function read_values(io, T, dimensions)
    dims = read!(io, Vector{Int64}(undef, dimensions))
    n = prod(big, dims)
    all(>(0), dims) && n * sizeof(T) <= 1 << 30 || fail("an array of size ", Tuple(dims))
    return read!(io, Array{T}(undef, dims...))
end

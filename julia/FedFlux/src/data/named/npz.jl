# Data from .npz files of NumPy. What a file claims of itself is checked before memory is
# taken for it: a few megabytes can unpack to thousands of times as much.

"""
    load_npz(path) -> Dataset

Read the arrays `x_train, y_train` and, if present, `x_test, y_test`, `owner_train` and
`owner_test` of a NumPy .npz file. Axes are NumPy's: (N, H, W), (N, C, H, W) or
(N, features). Throws a [`FedFluxError`](@ref) for a missing or unreadable file, a missing
array, or one that unpacks to more than 16 GB, or to more than 200 times its size and a GB.
"""
function load_npz(path)
    isfile(path) ||
        fail("dataset: there is no file ", path, "; expected an .npz file, or one of ",
            listed_datasets())
    npz = Base.require(FedFlux, :NPZ)   # not at every start: loading it takes .3 s
    arrays = try
        Base.invokelatest(check_archive, npz.ZipFile, path)
        Base.invokelatest(npz.npzread, path)
    catch err
        err isa Union{FedFluxError,InterruptException} && rethrow()
        fail("dataset: ", path, " can't be read as .npz: ", first_line(err))
    end
    function take(key)
        haskey(arrays, key) ||
            fail("dataset: ", path, " lacks the array ", key, "; it has ",
                join(sort!(collect(keys(arrays))), ", "))
        a = arrays[key]
        return permutedims(a, ndims(a):-1:1)
    end
    optional(key) = haskey(arrays, key) ? take(key) : nothing
    return Dataset(take("x_train"), take("y_train"), optional("x_test"), optional("y_test");
        name = path, owner = optional("owner_train"),
        owner_test = optional("owner_test"))
end

# As in Python (_data/npz.py): no data are so alike that they pack to less.
const UNPACKED_MOST, UNPACKED_ALWAYS, UNPACKED_TIMES = 2^34, 2^30, 200

function check_archive(ZipFile, path)
    archive = ZipFile.Reader(path)
    try
        size = sum(f -> big(f.uncompressedsize), archive.files; init = big(0))
        most = min(UNPACKED_MOST, max(UNPACKED_ALWAYS, UNPACKED_TIMES * filesize(path)))
        size <= most || fail("dataset: ", path, " unpacks to ", size, " bytes, and at ",
            "most ", most, " are read from a file of its size; give the arrays instead")
        foreach(f -> check_array_header(path, f.name, f.uncompressedsize, f), archive.files)
    finally
        close(archive)
    end
end

const NPY_MARK = [0x93; codeunits("NUMPY")]

"Throw if an array's header claims another size than the archive says it has."
function check_array_header(path, name, size, io)
    damaged(why...) = fail("dataset: ", path, " can't be read as .npz: ", name, " ", why...)
    size >= 10 || damaged("is no array")
    start = read(io, 10)
    start[1:6] == NPY_MARK || damaged("is no array")
    long = start[7] >= 2
    n = Int(start[9]) | Int(start[10]) << 8
    long && (more = read(io, 2); n |= Int(more[1]) << 16 | Int(more[2]) << 24)
    used = long ? 12 : 10
    used + n <= size && n <= MAX_NPY_HEADER || damaged("has a header of ", n, " bytes")
    header = String(read(io, n))
    type = match(r"'descr':\s*'[<>|=]?([a-zA-Z])(\d{1,9})'", header)
    shape = match(r"'shape':\s*\(([\d\s,]{0,400})\)", header)
    type === nothing || shape === nothing ||
        return check_shape(damaged, size - used - n, type, shape[1])
    damaged("is no array of numbers")
end

const MAX_NPY_HEADER = 1 << 16

function check_shape(damaged, bytes, type, shape)
    dims = parse.(BigInt, filter(!isempty, strip.(split(shape, ','))))
    item = parse(Int, type[2]) * (type[1] == "U" ? 4 : 1)       # four bytes a character
    prod(dims; init = big(item)) == bytes ||
        damaged("claims the shape (", strip(shape), ") and ", item, " bytes per value, ",
            "and has ", bytes, " bytes")
end

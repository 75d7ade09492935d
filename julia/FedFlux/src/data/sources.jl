# Sources of data: MNIST and FashionMNIST through MLDatasets (an extension), digits, .npz
# files, plays, the user's arrays.

"""
    Dataset(x, y, xtest, ytest; name = "arrays", owner = nothing, owner_test = nothing,
            validation = nothing, classes = nothing)

Training and test data, checked. `xtest` and `ytest` may both be `nothing`.

- `x`: samples along the last dimension: (W, H, N) or (W, H, C, N) images, (features, N), or
  (T, N) tokens from 0. 8-bit values are scaled to 0..1. Other integers may be tokens, so
  they stay as they are until the model is known. Floats become Float32; Float64 stays until
  it is normalized.
- `y`: (N) labels, texts, symbols, booleans or integers; (T, N) labels from 0; or (N) or
  (k, N) numbers. A run numbers labels that are not 0 to n − 1, and its result keeps them.
- `owner`: the owner of each training sample, (N) numbers or names, for the partition by
  owner.
- `owner_test`: the owner of each test sample, for the test data of each client's own.
- `validation`: `(x, y)`, samples to validate on, which no client trains on.
- `classes`: the labels that the numbers in `y` and `ytest` stand for, if they do.

`dtype` is the type that `x` had, as NumPy calls it. Throws a [`FedFluxError`](@ref) for
lengths that do not match, NaN or Inf, or no samples.

```julia
Dataset(rand(Float32, 8, 6), [0, 1, 0, 1, 0, 1], nothing, nothing)
```
"""
struct Dataset
    x::AbstractArray
    y::Array
    xtest::Union{Nothing,AbstractArray}
    ytest::Union{Nothing,Array}
    name::String
    owner::Union{Nothing,Vector}
    owner_test::Union{Nothing,Vector}
    dtype::Union{Nothing,String}
    validation::Union{Nothing,Tuple{AbstractArray,Array}}
    classes::Union{Nothing,Vector}
end

function Dataset(x, y, xtest, ytest; name = "arrays", owner = nothing, owner_test = nothing,
    validation = nothing, classes = nothing)
    (xtest === nothing) == (ytest === nothing) ||
        fail("test data needs both samples and targets; only one of them was given")
    dtype = dtype_name(x)
    x = check_samples("x_train", x)
    checkpair("train", x, y)
    if xtest !== nothing
        (dtype == "uint8") == (dtype_name(xtest) == "uint8") ||
            fail("x_test: expected ", dtype, " as in x_train, got ", dtype_name(xtest),
                "; 8-bit images are scaled to 0..1 and floats are not")
        xtest = check_samples("x_test", xtest)
        checkpair("test", xtest, ytest)
        size(xtest)[1:(end-1)] == size(x)[1:(end-1)] ||
            fail("x_test holds samples of size ", size(xtest)[1:(end-1)],
                " and x_train of size ", size(x)[1:(end-1)], "; expected the same size")
    end
    owner === nothing || check_owner(owner, numobs(y))
    owner_test === nothing || check_owner_test(owner_test, owner, ytest)
    own(list) = list === nothing ? nothing : collect(list)
    return Dataset(x, y, xtest, ytest, name, own(owner), own(owner_test), dtype,
        checked_validation(validation, x), own(classes))
end

checked_validation(::Nothing, x) = nothing
function checked_validation(validation, x)
    validation isa Tuple{AbstractArray,AbstractArray} ||
        fail("validation is a ", typeof(validation), "; expected a share of the training ",
            "samples, such as 0.1, or (x, y), samples and their targets")
    xval, yval = check_samples("validation's x", first(validation)), last(validation)
    checkpair("validation", xval, yval)
    size(xval)[1:(end-1)] == size(x)[1:(end-1)] ||
        fail("validation's x holds samples of size ", size(xval)[1:(end-1)],
            " and x_train of size ", size(x)[1:(end-1)], "; expected the same size")
    return xval, collect(yval)
end

"The data with samples to validate on, `(x, y)` as a user has them."
with_validation(d::Dataset, validation) = Dataset(d.x, d.y, d.xtest, d.ytest, d.name,
    d.owner, d.owner_test, d.dtype, checked_validation(validation, d.x),
    d.classes)

function check_owner_test(owner_test, owner, ytest)
    owner === nothing && fail("owner_test needs owner too, the owners of training samples")
    ytest === nothing && fail("owner_test is given, and there are no test samples")
    length(owner_test) == numobs(ytest) ||
        fail("owner_test lists the owners of ", length(owner_test), " samples, and there ",
            "are ", numobs(ytest), " for test; expected one owner per sample")
end

Base.show(io::IO, d::Dataset) =
    print(io, "Dataset(", d.name, ": ", size(d.x)[end], " training samples of size ",
        size(d.x)[1:(end-1)], ", ", d.xtest === nothing ? 0 : size(d.xtest)[end],
        " for test)")

"Tokens and labels are below this bound: a model has an output for each."
const MAX_CLASSES = 1_000_000

"What NumPy calls the type that samples are kept in; `nothing` for no array of numbers."
dtype_name(x) = nothing
dtype_name(x::AbstractArray{<:Real}) = "float64"
dtype_name(x::AbstractArray{<:Integer}) = "int64"
dtype_name(x::AbstractArray{UInt8}) = "uint8"
dtype_name(x::AbstractArray{<:Union{Float16,Float32}}) = "float32"

"Check the samples `x`, named `name` in errors, and convert them as [`Dataset`](@ref) does."
function check_samples(name, x)
    x isa AbstractArray{<:Real} ||
        fail(name, " is a ", typeof(x), "; expected an array of numbers")
    ndims(x) in 2:4 ||
        fail(name, " has ", ndims(x),
            " dimensions; expected (features, N), (W, H, N) or (W, H, C, N)")
    eltype(x) <: Integer && !all(in(typemin(Int):typemax(Int)), x) &&
        fail(name, " contains ", first(Iterators.filter(!in(typemin(Int):typemax(Int)), x)),
            "; expected 64-bit integers")
    x =
        eltype(x) == UInt8 ? Float32.(x) ./ 255.0f0 :
        eltype(x) <: Integer ? convert(Array{Int}, x) :
        convert(dtype_name(x) == "float64" ? Array{Float64} : Array{Float32}, x)
    all(v -> isfinite(Float32(v)), x) ||
        fail(name, " contains NaN or Inf; remove or replace those values")
    return ndims(x) == 3 ? reshape(x, size(x, 1), size(x, 2), 1, size(x, 3)) : x
end

"The data with `f` of its inputs in their place, for training and for test."
function map_inputs(f, d::Dataset)
    xtest = d.xtest === nothing ? nothing : f(d.xtest)
    validation =
        d.validation === nothing ? nothing : (f(first(d.validation)), last(d.validation))
    return Dataset(f(d.x), d.y, xtest, d.ytest, d.name, d.owner, d.owner_test, d.dtype,
        validation, d.classes)
end

"The data, whose samples stand in for others of a type that is not known."
untyped(d::Dataset) =
    Dataset(d.x, d.y, d.xtest, d.ytest, d.name, d.owner, d.owner_test, nothing,
        d.validation, d.classes)

"The data with inputs for the model: `tokens` from 1, for Flux's Embedding, or Float32."
inputs_for(d::Dataset, tokens::Bool) = map_inputs(x -> as_inputs(x, tokens), d)

"""
The samples as floats that keep their differences: Float64 if they are, or whole numbers
that Float32 does not hold.
"""
as_floats(x::AbstractArray{<:AbstractFloat}) = x
as_floats(x::AbstractArray{<:Integer}) =
    all(v -> abs(v) <= 2^24, x) ? convert(Array{Float32}, x) : convert(Array{Float64}, x)

in_float32(x) = x
in_float32(x::AbstractArray{Float64}) = convert(Array{Float32}, x)

function as_inputs(x, tokens)
    tokens || return convert(Array{Float32}, x)
    check_tokens(x)
    return x .+ 1
end

function check_tokens(x)
    eltype(x) <: Integer ||
        fail("the model takes tokens, and the samples are ", eltype(x),
            "; expected whole numbers from 0, as an array of integers")
    bad = findfirst(!in(0:(MAX_CLASSES-1)), x)
    bad === nothing ||
        fail("the samples contain the token ", x[bad], "; expected whole numbers from 0 ",
            "to ", MAX_CLASSES - 1)
end

function checkpair(which, x, y)
    texts = y isa AbstractVector{<:Union{AbstractString,Symbol}}
    y isa AbstractArray{<:Real} || texts ||
        fail("y_$which is a ", typeof(y), "; expected an array of numbers, or a vector of ",
            "texts")
    n = numobs(x)
    n > 0 || fail("x_$which holds no samples")
    numobs(y) == n ||
        fail("x_$which holds ", n, " samples and y_$which ", numobs(y),
            " targets; expected the same number of each")
    texts || all(isfinite, y) ||
        fail("y_$which contains NaN or Inf; remove or replace those values")
end

"""
    checklabels(loss, y, which, nclasses = MAX_CLASSES)

Check that the labels `y` are whole numbers from 0 within the classes, for cross-entropy and
binary cross-entropy. `which`, "train" or "test", names them in errors.
"""
function checklabels(loss, y, which, nclasses = MAX_CLASSES)
    loss isa Union{CrossEntropy,BinaryCrossEntropy} || return
    all(isinteger, y) ||
        fail("y_$which contains ", first(Iterators.filter(!isinteger, y)),
            "; expected whole-number labels from 0")
    top = loss isa BinaryCrossEntropy ? 1 : nclasses - 1
    bad = findfirst(v -> !(0 <= v <= top), y)
    bad === nothing ||
        fail("y_$which contains the label ", y[bad], "; expected labels in 0..", top,
            top == MAX_CLASSES - 1 ? "; number the classes from 0" : "")
end

"""
The UCI handwritten digits, 8×8: 1,437 training and 360 test images (CC BY 4.0; see
data/README.md).
"""
function digits()
    records = reshape(read(joinpath(pkgdir(FedFlux), "data", "digits.bin")), 65, :)
    part(range) = (reshape(records[2:65, range], 8, 8, :), records[1, range])
    return Dataset(part(1:1437)..., part(1438:1797)...; name = "digits")
end

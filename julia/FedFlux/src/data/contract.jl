# What a trained model takes: the type and size of a sample, and how it was normalized.

"""
    InputContract(dtype, sample, mean, std)

The inputs that a model was trained on.

- `dtype`: the type of the values as NumPy calls it: `"uint8"`, scaled to 0..1, `"float32"`,
  `"float64"` or `"int64"`; `nothing`: not known.
- `sample`: the size of one sample, images with channels; `nothing`: not known.
- `classes`: the labels that the numbers of its classes stand for, in order; `nothing`:
  themselves.
- `mean` and `std`: what is subtracted from inputs, and what they are divided by then: each
  a number, an array with one for each channel or feature, or `nothing`.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rounds = 1)
r.input.dtype       # "uint8"
```
"""
struct InputContract
    dtype::Union{Nothing,String}
    sample::Union{Nothing,Dims}
    mean::Any
    std::Any
    classes::Union{Nothing,Vector}
end

InputContract(dtype, sample, mean, std) = InputContract(dtype, sample, mean, std, nothing)

InputContract(d::Dataset, mean, std) =
    InputContract(d.dtype, size(d.x)[1:(end-1)], by_channel("mean", mean, d.x),
        by_channel("std", std, d.x), d.classes)

"The contract in JSON's types, with NumPy's order of axes."
function plain_contract(c::InputContract)
    plain(v) = v isa AbstractArray ? vec(v) : v
    return Dict{String,Any}("dtype" => c.dtype,
        "shape" => c.sample === nothing ? nothing : collect(reverse(c.sample)),
        "scale" => c.dtype == "uint8" ? 255 : 1, "mean" => plain(c.mean),
        "std" => plain(c.std))
end

"The contract that [`plain_contract`](@ref) gave."
function InputContract(plain::AbstractDict)
    shape = plain["shape"]
    sample = shape === nothing ? nothing : Tuple(Int.(reverse(shape)))
    beside(v) = v
    function beside(v::AbstractVector)       # along the channels or the features
        before = sample === nothing ? 0 : length(sample) - 1
        return reshape(Float64.(v), ntuple(_ -> 1, before)..., :, 1)
    end
    return InputContract(plain["dtype"], sample, beside(plain["mean"]),
        beside(plain["std"]))
end

"""
    as_trained(c::InputContract, x; any_size) -> x

The samples `x` as a user has them, scaled as those of the training. Floats from 0 to 1 are
bytes that a [`Dataset`](@ref) has scaled. Throws a [`FedFluxError`](@ref) if they are
bytes and those were not, or the reverse, or of another size, unless the model takes
`any_size`.
"""
function as_trained(c::InputContract, x; any_size)
    dtype = dtype_name(x)
    x = check_samples("x", x)
    fits =
        c.dtype === nothing ? true :
        c.dtype != "uint8" ? dtype != "uint8" :
        dtype == "uint8" || all(v -> 0 <= v <= 1, x)
    fits || fail("x: expected ", c.dtype, " as in x_train, got ", dtype,
        "; 8-bit images are scaled to 0..1 and floats are not")
    c.sample === nothing || any_size || size(x)[1:(end-1)] == c.sample ||
        fail("x: expected samples of size ", c.sample, " as in x_train, got ",
            size(x)[1:(end-1)])
    c.mean === nothing && c.std === nothing && return x
    return standardize(as_floats(x), by_channel("mean", something(c.mean, 0), x),
        by_channel("std", something(c.std, 1), x))
end

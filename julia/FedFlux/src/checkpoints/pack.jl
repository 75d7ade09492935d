# State as JSON and arrays, exactly and without code: only the types below are written, and
# only they can come back.

const OtherNumber = Union{Float16,Float32,Int8,Int16,Int32,Int128,UInt8,UInt16,UInt32,
    UInt64,UInt128}

"""
    pack(x, at, arrays)

`x` as something that JSON can hold; arrays of numbers go into the Dict `arrays`, under the
name `at`. Takes numbers, strings, symbols, `nothing`, arrays of numbers, and tuples,
NamedTuples, vectors and Dicts of these. Throws a [`FedFluxError`](@ref) that names anything
else.

```julia
arrays = Dict{String,Array}()
text = FedFlux.pack((; step = 3, v = [1.0f0]), "rule", arrays)
FedFlux.unpack(text, arrays)     # (step = 3, v = [1.0f0])
```
"""
pack(x, at, arrays) =
    fail("a checkpoint can't hold ", at, ", a ", typeof(x), "; it holds numbers, strings, ",
        "symbols, nothing, arrays of numbers, and tuples, NamedTuples, vectors and Dicts ",
        "of these")
pack(x::Union{Nothing,Bool,Int64,String}, at, arrays) = x
pack(x::Float64, at, arrays) = isfinite(x) ? x : pack_number(x)
pack(x::OtherNumber, at, arrays) = pack_number(x)
pack(x::Symbol, at, arrays) = Dict("symbol" => string(x))
pack(x::Tuple, at, arrays) = Dict("tuple" => pack_all(x, at, arrays))
pack(x::NamedTuple, at, arrays) =
    Dict("names" => String[string(k) for k in keys(x)],
        "values" => Any[pack(v, "$at/$k", arrays) for (k, v) in pairs(x)])
pack(x::BitVector, at, arrays) = stored("bits", Array(x), at, arrays)
pack(x::Array, at, arrays) =
    haskey(DTYPE_NAMES, eltype(x)) ? stored("array", x, at, arrays) :
    Dict("list" => pack_all(vec(x), at, arrays), "size" => collect(size(x)))
function pack(x::Dict, at, arrays)
    pairs = sort!(collect(x); by = p -> string(p[1]))
    return Dict(
        "dict" => Any[
            Any[pack(k, "$at/key", arrays), pack(v, "$at/$k", arrays)]
            for (k, v) in pairs
        ]
    )
end

pack_number(x) = Dict("number" => string(typeof(x)), "is" => string(x))
pack_all(xs, at, arrays) = Any[pack(x, "$at/$i", arrays) for (i, x) in enumerate(xs)]

function stored(kind, a, at, arrays)
    haskey(arrays, at) && fail("a checkpoint can't hold two arrays named ", at)
    arrays[at] = a
    return Dict(kind => at)
end

const NUMBERS = Dict(string(T) => T for T in (Float64, Base.uniontypes(OtherNumber)...))

"""
What `f` makes of the content of a file; a [`FedFluxError`](@ref) that names `what` if it
isn't what a checkpoint holds.
"""
function readable(f, what)
    try
        return f()
    catch err
        err isa Union{FedFluxError,InterruptException} && rethrow()
        fail("checkpoint: ", what, " is nothing that this FedFlux can read: ",
            first_line(err))
    end
end

"""
What [`pack`](@ref) wrote, given the arrays beside it. Throws a [`FedFluxError`](@ref) for
anything that it can't have written.
"""
unpack(x, arrays) = readable(() -> unpacked(x, arrays), "a state in it")

unpacked(x::Union{Nothing,Bool,Int64,Float64}, arrays) = x
unpacked(x::AbstractString, arrays) = String(x)
unpacked(x, arrays) = fail("checkpoint: ", typeof(x), " is nothing that a checkpoint holds")
function unpacked(x::AbstractDict, arrays)
    haskey(x, "tuple") && return Tuple(unpacked_all(x["tuple"], arrays))
    haskey(x, "names") && return unpacked_named(x, arrays)
    haskey(x, "list") &&
        return reshape([v for v in unpacked_all(x["list"], arrays)], Tuple(Int.(x["size"])))
    haskey(x, "dict") && return Dict(
        unpacked(k, arrays) => unpacked(v, arrays)
        for (k, v) in expect(AbstractVector, x["dict"])
    )
    haskey(x, "symbol") && return Symbol(expect(AbstractString, x["symbol"]))
    haskey(x, "array") && return take_array(arrays, x["array"])
    haskey(x, "bits") && return BitVector(take_array(arrays, x["bits"]))
    haskey(x, "number") &&
        return parse(NUMBERS[x["number"]], expect(AbstractString, x["is"]))
    return fail("checkpoint: an object with ", join(keys(x), ", "),
        " is nothing that a checkpoint holds")
end

function unpacked_named(x, arrays)
    names = Symbol.(expect(AbstractVector, x["names"]))
    return NamedTuple{Tuple(names)}(Tuple(unpacked_all(x["values"], arrays)))
end

unpacked_all(xs, arrays) = Any[unpacked(x, arrays) for x in expect(AbstractVector, xs)]
expect(T, x) =
    x isa T ? x : fail("checkpoint: found ", repr(x), " where a ", T, " belongs")
# Each array stands in one place: copies of one would take memory that no byte paid for.
take_array(arrays, name) =
    haskey(arrays, name) ? pop!(arrays, name) :
    fail("checkpoint: the array ", name, " is missing, or used twice")

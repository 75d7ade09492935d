# The safetensors format: eight bytes with the length of a JSON header, the header, the
# arrays' bytes. Written here because the format is this small, and what every start of
# FedFlux must load is kept short.

const DTYPES = Dict("F32" => Float32, "F64" => Float64, "I64" => Int64, "I32" => Int32,
    "I16" => Int16, "I8" => Int8, "U64" => UInt64, "U32" => UInt32,
    "U16" => UInt16, "U8" => UInt8, "BOOL" => Bool)
const DTYPE_NAMES = Dict(T => name for (name, T) in DTYPES)

const MAX_HEADER = 100_000_000      # bytes, as the reference implementation has it

"""
    write_tensors(arrays, metadata = nothing) -> Vector{UInt8}

A safetensors file's bytes for `arrays`, pairs of name and array; `metadata` is a Dict of
texts. A Julia array of size (a,
b, c) becomes a tensor of shape (c, b, a) over the same bytes: what NumPy calls C order.
"""
function write_tensors(arrays, metadata = nothing)
    header, offset = Dict{String,Any}(), 0
    metadata === nothing || (header["__metadata__"] = metadata)
    named = sort!(collect(Pair{String,Array}, arrays); by = first)
    for (name, a) in named
        header[name] = Dict("dtype" => DTYPE_NAMES[eltype(a)],
            "shape" => Int[reverse(size(a))...],
            "data_offsets" => [offset, offset + sizeof(a)])
        offset += sizeof(a)
    end
    text = JSON.json(header)
    text *= " "^mod(-ncodeunits(text), 8)
    io = IOBuffer(; sizehint = 8 + ncodeunits(text) + offset)
    write(io, htol(UInt64(ncodeunits(text))), text)
    foreach(((_, a),) -> write(io, map(htol, a)), named)
    return take!(io)
end

"""
    read_tensors(bytes) -> Dict{String,Array}

The arrays of a safetensors file, with reversed axes (see [`write_tensors`](@ref)). Every
size and offset is checked before anything is allocated. Throws a [`FedFluxError`](@ref)
that says what is wrong.
"""
function read_tensors(bytes::Vector{UInt8})
    header, data = read_header(bytes)
    spans = UnitRange{Int}[]
    arrays = Dict{String,Array}()
    for (name, entry) in header
        name == "__metadata__" && continue
        T, dims, span = check_entry(name, entry, length(data))
        push!(spans, span)
        arrays[name] = read_array(T, dims, view(data, span))
    end
    sort!(spans; by = r -> (first(r), last(r)))
    stops = [0; last.(spans)]
    adjacent = all(first(r) == stop + 1 for (r, stop) in zip(spans, stops))
    adjacent && last(stops) == length(data) ||
        fail("safetensors: the arrays overlap or leave gaps")
    return arrays
end

"The JSON header of a safetensors file, checked to be an object, and the bytes after it."
function read_header(bytes::Vector{UInt8})
    length(bytes) >= 8 || fail("safetensors: ", length(bytes), " bytes; expected 8 or more")
    n = ltoh(only(reinterpret(UInt64, bytes[1:8])))
    n <= min(MAX_HEADER, length(bytes) - 8) ||
        fail("safetensors: the header claims ", n, " bytes of the file's ", length(bytes))
    header = parse_json("safetensors: the header", String(bytes[9:(8+Int(n))]))
    header isa AbstractDict || fail("safetensors: the header is no JSON object")
    return header, @view bytes[(9+Int(n)):end]
end

function check_entry(name, entry, available)
    whole(d) = d isa Integer && !(d isa Bool) && d >= 0
    entry isa AbstractDict && haskey(DTYPES, get(entry, "dtype", nothing)) ||
        fail("safetensors: ", name, " has no known dtype")
    shape, offsets = get(entry, "shape", nothing), get(entry, "data_offsets", nothing)
    shape isa AbstractVector && length(shape) <= 16 && offsets isa AbstractVector &&
    length(offsets) == 2 && all(whole, offsets) &&
    offsets[1] <= offsets[2] <= available ||
        fail("safetensors: ", name, " has no valid shape and offsets")
    all(whole, shape) && prod(d -> max(big(d), 1), shape; init = big(8)) <= typemax(Int) ||
        fail("safetensors: ", name, " has the shape ", shape)
    T = DTYPES[entry["dtype"]]
    prod(big, shape; init = big(sizeof(T))) == offsets[2] - offsets[1] ||
        fail("safetensors: the size of ", name, " does not fit its shape")
    return T, Tuple(Int.(reverse(shape))), (Int(offsets[1])+1):Int(offsets[2])
end

function read_array(::Type{T}, dims, bytes) where {T}
    T === Bool && !all(<=(0x01), bytes) && fail("safetensors: a boolean is neither 0 nor 1")
    a = Array{T}(undef, dims)
    copyto!(reinterpret(UInt8, vec(a)), bytes)
    return map!(ltoh, a, a)
end

"""
JSON text as Julia values; a [`FedFluxError`](@ref) that names `what` for text that is none,
or is nested deeper than any that this package writes: the parser would run out of stack.
"""
function parse_json(what, text)
    depth(codeunits(text)) <= MAX_DEPTH ||
        fail(what, " is nested deeper than ", MAX_DEPTH, " brackets: it is damaged, or no ",
            "file of FedFlux")
    try
        return JSON.parse(text)
    catch err
        err isa InterruptException && rethrow()
        fail(what, " can't be read as JSON: ", first_line(err))
    end
end

const MAX_DEPTH = 64            # of the brackets of a JSON text

"How deep the brackets of a JSON text are nested, those in strings apart."
function depth(text)
    deepest = now = 0
    quoted = escaped = false
    for b in text
        if quoted
            quoted = escaped || b != UInt8('"')
            escaped = !escaped && b == UInt8('\\')
        else
            quoted = b == UInt8('"')
            b in (UInt8('['), UInt8('{')) && (deepest = max(deepest, now += 1))
            b in (UInt8(']'), UInt8('}')) && (now -= 1)
        end
    end
    return deepest
end

# What both sides write in front of every message, and how they send values: text and
# arrays, never code. Little-endian.

const MAGIC = Vector{UInt8}("FFX")
const WIRE_VERSION = 0x02
const ID_BYTES = 16         # of a federation

const STAGE_NAMES =
    ("train", "keys", "shares", "masked", "unmask", "encrypt", "decrypt")
const SECURE_STAGES = STAGE_NAMES[2:5]
const TRAINING_STAGES = ("train", "keys", "encrypt")

"What stands in front of a message: whose it is, of which round, and what is asked."
struct MessageHeader
    stage::String
    federation::Vector{UInt8}
    round::Int
    client::Int
end

const HEADER_BYTES = length(MAGIC) + 2 + ID_BYTES + 8

writeword!(w::Writer, x::Unsigned) =
    foreach(k -> writebyte!(w, x >> 8k), 0:(sizeof(x)-1))

function write_message_header!(w::Writer, h::MessageHeader)
    append!(w.bytes, MAGIC)
    writebyte!(w, WIRE_VERSION)
    writebyte!(w, findfirst(==(h.stage), STAGE_NAMES))
    append!(w.bytes, h.federation)
    writeword!(w, UInt32(h.round))
    writeword!(w, UInt32(h.client))
    return w
end

function take_word!(r::Reader, ::Type{T}, what) where {T}
    require_bytes(r, sizeof(T), what)
    word = readword(T, r.bytes, r.at)
    r.at += sizeof(T)
    return word
end

function take_bytes!(r::Reader, n, what)
    require_bytes(r, n, what)
    r.at += n
    return r.bytes[(r.at-n+1):r.at]
end

"""
    read_message_header!(r::Reader) -> MessageHeader

Throws a [`FedFluxError`](@ref) for bytes that are no message, or of another version.
"""
function read_message_header!(r::Reader)
    left(r) >= HEADER_BYTES && take_bytes!(r, length(MAGIC), "the mark") == MAGIC ||
        fail("is no message of FedFlux")
    version = readbyte!(r, "the version")
    version == WIRE_VERSION || fail("is of version ", version, " of FedFlux's messages, ",
        "and this is version ", WIRE_VERSION, ": install the same fedflux on both sides"
    )
    stage = readbyte!(r, "the stage")
    1 <= stage <= length(STAGE_NAMES) || fail("is of an unknown stage, ", stage)
    id = take_bytes!(r, ID_BYTES, "the federation")
    round, client = take_word!(r, UInt32, "the round"), take_word!(r, UInt32, "the client")
    return MessageHeader(STAGE_NAMES[stage], id, Int(round), Int(client))
end

const MAX_TEXT = 1 << 20        # bytes of JSON in a message

"""
    write_values!(w::Writer, x) -> bytes of arrays

Write what [`pack`](@ref) takes: the length of a JSON text, the text, and the arrays as a
safetensors file.
"""
function write_values!(w::Writer, x)
    arrays = Dict{String,Array}()
    text = JSON.json(pack(x, "x", arrays))
    writeword!(w, UInt32(ncodeunits(text)))
    append!(w.bytes, codeunits(text), write_tensors(arrays))
    return sum(sizeof, values(arrays); init = 0)
end

"""
    read_values!(r::Reader) -> x

The values that [`write_values!`](@ref) wrote, which take up all that is left. Throws a
[`FedFluxError`](@ref) for anything else, before much memory is taken.
"""
function read_values!(r::Reader)
    n = take_word!(r, UInt32, "the length of the text")
    n <= MAX_TEXT || malformed("a text of ", n, " bytes")
    text = take_bytes!(r, Int(n), "the text")
    packed = parse_json("a message", String(text))      # first: it may be nested too deeply
    return unpack(packed, read_tensors(take_bytes!(r, left(r), "the arrays")))
end

"""
The value `name` of a message, which must be a `T`; a [`FedFluxError`](@ref) if it isn't.
"""
function field(::Type{T}, values, name::Symbol) where {T}
    values isa NamedTuple && haskey(values, name) && values[name] isa T ||
        fail("has no valid ", name)
    return values[name]
end

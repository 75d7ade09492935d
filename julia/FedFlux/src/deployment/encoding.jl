# An update as bytes: each vector in the encoding that the rules gave it, which the history
# counts. Both sides know names, lengths and order from the rules, so none is sent.

const PLAIN, KEPT, ENCODED = 0x00, 0x01, 0x02
const PART_BYTES = 5            # a vector's kind and the number of its bytes

"""
    encode!(w::Writer, u::Update) -> w

Write an update: for each of its vectors a byte for the kind, the number of its bytes, and
the bytes, [`wire_bytes`](@ref) of them.

- plain: four bytes per value;
- kept: four bytes for each value that the receiver doesn't know to be zero;
- encoded: as the compressor encoded it.
"""
function encode!(w::Writer, u::Update)
    for v in parts(u)
        writebyte!(w, kind(v))
        writeword!(w, UInt32(wire_bytes(v)))
        write_vector!(w, v)
    end
    return w
end

kind(::AbstractVector) = PLAIN
kind(::Masked) = KEPT
kind(::Encoded) = ENCODED
write_vector!(w, v::AbstractVector) = writefloats!(w, decoded(v))
write_vector!(w, v::Masked) = writefloats!(w, view(v.values, v.kept))
write_vector!(w, v::Encoded) = append!(w.bytes, v.bytes)

"""
    decode!(r::Reader, like, rules, shared, layout) -> Update

Read an update of the shape `like` that clients with these `rules` sent, whose server has
the states `shared`: the very values that they sent. Throws a [`FedFluxError`](@ref) for
anything else, before memory is taken for it.
"""
function decode!(r::Reader, like, rules, shared, layout)
    take(name, n) = read_vector!(r, name, n, rules, shared, layout)
    together(lengths) = NamedTuple{keys(lengths)}(
        Tuple(take(name, n) for (name, n) in pairs(lengths))
    )
    vectors = together(like.vectors)
    stats = take(:stats, like.stats)
    return Update(vectors, stats, together(like.metrics))
end

function read_vector!(r::Reader, name, n, rules, shared, layout)
    how = readbyte!(r, "the kind of $name")
    bytes = Int(take_word!(r, UInt32, "the size of $name"))
    bytes <= most_bytes(n) || malformed(name, " has ", bytes, " bytes, and ", n, " values")
    require_bytes(r, bytes, name)
    known = n == layout.n ? kept(rules, shared, name, nothing) : nothing
    if how == PLAIN
        check_bytes(name, bytes, 4n)
        return readfloats!(r, n, name)
    elseif how == KEPT
        known === nothing && malformed(name, " leaves out values, and no rule does")
        check_bytes(name, bytes, 4 * length(known))
        return Masked(scatter_values(readfloats!(r, length(known), name), known, n), known)
    elseif how == ENCODED
        i = findfirst(c -> c isa Compressor, rules)
        i !== nothing && n == layout.n ||
            malformed(name, " is encoded, and no rule does it")
        encoded = take_bytes!(r, bytes, name)
        return Encoded(decode_kept(rules[i], encoded, n, layout, known), encoded)
    end
    malformed(name, " is of an unknown kind, ", how)
end

check_bytes(name, bytes, expected) =
    bytes == expected ||
    malformed(name, " has ", bytes, " bytes; expected ", expected)

# An encoding may be longer than the vector itself, if its options are odd.
most_bytes(n) = 16n + 1024

"The shape of what one of `N` clients sends."
expected_shape(rules, st, N) = shape(nobody_sent(rules, st, N))

"The most bytes that an update of the shape `like` can have."
most_bytes(like::NamedTuple) =
    sum(n -> PART_BYTES + most_bytes(n), (like.vectors..., like.stats, like.metrics...))

# What `compress` does, from the other side.
decode_kept(c::Compressor, bytes, n, layout, ::Nothing) = decode(c, bytes, n, layout)
function decode_kept(c::Compressor, bytes, n, layout, kept)
    positional(c) && return scatter_values(decode(c, bytes, n, layout)[kept], kept, n)
    part = decode(c, bytes, length(kept), Layout(length(kept)))
    return scatter_values(part, kept, n)
end

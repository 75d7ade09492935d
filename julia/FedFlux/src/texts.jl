# The texts of users' files, in the encodings that editors write.

"""
    read_text(path) -> String

The text of a file in UTF-8, or, by its byte-order mark, in UTF-16. A mark is not part of
the text. Throws a [`FedFluxError`](@ref) for other encodings.
"""
function read_text(path)
    bytes = read(path)
    starts_with(mark...) = Tuple(first(bytes, length(mark))) == mark
    starts_with(0xef, 0xbb, 0xbf) && (bytes = bytes[4:end])
    if starts_with(0xff, 0xfe) || starts_with(0xfe, 0xff)
        iseven(length(bytes)) || fail(path, " ends in the middle of a letter of UTF-16")
        swap = starts_with(0xff, 0xfe) ? ltoh : ntoh
        return transcode(String, swap.(reinterpret(UInt16, bytes[3:end])))
    end
    0x00 in bytes && fail(path, " holds zero bytes: it is no text in UTF-8")
    text = String(bytes)
    isvalid(text) && return text
    i = first(Iterators.filter(i -> !isvalid(text[i]), eachindex(text)))
    fail(path, " is not in UTF-8 (byte ", i, "); if it is in Latin-1, convert it: ",
        "iconv -f latin1 -t utf-8")
end

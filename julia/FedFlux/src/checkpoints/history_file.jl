# The history of a run in a file of its own, a record a line: a checkpoint adds the rounds
# since the last one, and says in a few bytes which part of the file is its history.

const HISTORY_FILE = "history.jsonl"

history_path(folder) = joinpath(folder, HISTORY_FILE)

"""
    HistoryFile()

What stands in the history file of a run: so many `bytes` and `lines`, and their `chain`.
That is the hash of the last line behind that of those before,
hᵢ = SHA-256(hᵢ₋₁ ‖ lineᵢ). So a new line costs the same whatever came before.
What is behind these bytes was left by a run that was killed, or belongs to checkpoints that
can't be read: it is written over.
"""
mutable struct HistoryFile
    bytes::Int
    lines::Int
    chain::Vector{UInt8}
end
HistoryFile() = HistoryFile(0, 0, zeros(UInt8, 32))

history_line(r::Record) = Vector{UInt8}(JSON.json(pack_record(r)) * "\n")
pack_record(r) = Any[pack_field(getfield(r, name)) for name in recorded_fields(r)]
pack_field(v) = pack(v, "history", Dict{String,Array}())
pack_field(v::Vector{Int}) = Dict("list" => v, "size" => [length(v)])     # short

"What a history file holds after some more lines."
function after_lines(h::HistoryFile, lines)
    chain = foldl((chain, line) -> sha256([chain; line]), lines; init = h.chain)
    return HistoryFile(h.bytes + sum(length, lines; init = 0), h.lines + length(lines),
        chain)
end

"""
    add_rounds(h::HistoryFile, folder, history; private = false) -> HistoryFile

Write the records of `history` that aren't in the file yet. A file that is missing, or too
short, is written anew. The caller forces it to the disk.
"""
function add_rounds(h::HistoryFile, folder, history; private = false)
    path = history_path(folder)
    there = isfile(path)
    there && filesize(path) >= h.bytes || (h = HistoryFile())
    h.lines == length(history) && return h
    lines = [history_line(r) for r in view(history, (h.lines+1):length(history))]
    there || make_file(path, private)
    open(path, "r+") do io
        truncate(io, h.bytes)
        seekend(io)
        foreach(line -> write(io, line), lines)
        flush(io)                   # throws if the disk is full
    end
    return after_lines(h, lines)
end

"""
The history file of a run that goes on with the rounds of `history`: the one that is there,
if it begins with them; else a new one.
"""
function matching_file(folder, history; private = false)
    isempty(history) && return HistoryFile()
    lines = map(history_line, history)
    h = after_lines(HistoryFile(), lines)
    path, text = history_path(folder), concatenated(UInt8, lines)
    same =
        isfile(path) && filesize(path) >= h.bytes &&
        open(io -> read(io, h.bytes), path) == text
    same || write_durably(path, text; private)
    return h
end

"What a checkpoint says of its history."
facts(h::HistoryFile) = Dict{String,Any}("bytes" => h.bytes, "lines" => h.lines,
    "chain" => bytes2hex(h.chain), "fields" => collect(string.(fieldnames(Record))))

"""
    read_history(folder, facts) -> Vector{Record}

The history that the [`facts`](@ref) of a checkpoint name. Throws a [`FedFluxError`](@ref)
if the file doesn't hold it.
"""
function read_history(folder, facts)
    path = history_path(folder)
    bytes, names = facts["bytes"], Symbol.(facts["fields"])
    isfile(path) || bytes == 0 || fail(path, " is missing")
    bytes isa Int && 0 <= bytes <= (bytes == 0 ? 0 : filesize(path)) ||
        fail(path, " is damaged: it is shorter than the checkpoint says")
    text = bytes == 0 ? UInt8[] : open(io -> read(io, bytes), path)
    lines = split_lines(text)
    h = after_lines(HistoryFile(), lines)
    (h.lines, bytes2hex(h.chain)) == (facts["lines"], facts["chain"]) ||
        fail(path, " is damaged: its SHA-256 differs")
    return Record[unpack_record(names, parse_json(path, String(line))) for line in lines]
end

"The lines of a text, each with its end."
function split_lines(text)
    lines, from = Vector{UInt8}[], 1
    for i in findall(==(UInt8('\n')), text)
        push!(lines, text[from:i])
        from = i + 1
    end
    from > length(text) || push!(lines, text[from:end])
    return lines
end

"The record of a line; one without metrics ends before these."
function unpack_record(names, row)
    length(row) in (length(names) - (last(names) === :metrics), length(names)) ||
        fail("checkpoint: a round of the history has ", length(row), " figures; expected ",
            length(names))
    named = zip(names, row)
    return Record(; (name => unpack(v, Dict{String,Array}()) for (name, v) in named)...)
end

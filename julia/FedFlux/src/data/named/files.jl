# Files of data sets, of a bounded size, whose errors name the file and the line.

const MOST_OF_DATA_FILE = 2^32

function data_file(dataset, folder, name; most = MOST_OF_DATA_FILE)
    path = joinpath(expanduser(folder), name)
    isfile(path) || fail("dataset ", dataset, ": there is no file ", path, "; expected ",
        "the data set's folder with ", name, " in it")
    filesize(path) <= most || fail("dataset ", dataset, ": ", path, " has ",
        filesize(path), " bytes; expected a file of at most ", most)
    return path
end

"The lines of a file of numbers as a matrix, (numbers of a line, lines)."
function read_numbers(dataset, path, columns)
    values = Float32[]
    for (i, line) in enumerate(eachline(path))
        fields = split(line)
        isempty(fields) && continue
        length(fields) == columns || fail("dataset ", dataset, ": ", path, ", line ", i,
            ": expected ", columns, " numbers, got ", length(fields))
        for field in fields
            v = tryparse(Float32, field)
            v === nothing || !isfinite(v) ?
            fail("dataset ", dataset, ": ", path, ", line ",
                i, ": expected a number, got ", repr(first(field, 40))) : push!(values, v)
        end
    end
    isempty(values) && fail("dataset ", dataset, ": ", path, " holds no samples")
    return reshape(values, columns, :)
end

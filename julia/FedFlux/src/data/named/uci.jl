# Two data sets of the UCI repository, from their own files: Adult (Becker and Kohavi 1996)
# and Human Activity Recognition Using Smartphones (Anguita et al. 2013).

const ADULT_COLUMNS = ["age", "workclass", "fnlwgt", "education", "education-num",
    "marital-status", "occupation", "relationship", "race", "sex", "capital-gain",
    "capital-loss", "hours-per-week", "native-country"]
const ADULT_NUMBERS = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss",
    "hours-per-week"]

"""
    adult(folder) -> Dataset

UCI's Adult from `adult.data` and `adult.test`: 6 numbers as they are, and a 0 or 1 for each
value of the 8 other columns in the training file; a missing value, `?`, is a value too.
Labels are `<=50K` and `>50K`. The owners are `Doctorate` and `others`, as in Mohri et al.
2019 (arXiv:1902.00146, section 5.1).

The numbers differ in size, so train with `normalise = "federated"`. Throws a
[`FedFluxError`](@ref) that names file and line.

```julia
FedFlux.run(dataset = "adult:path/to/adult", partition = "owner", normalise = "federated")
```
"""
function adult(folder)
    rows, test = (adult_rows(data_file("adult", folder, f)) for
     f in ("adult.data", "adult.test"))
    kinds = setdiff(ADULT_COLUMNS, ADULT_NUMBERS)
    column(name) = findfirst(==(name), ADULT_COLUMNS)
    values = [sort!(unique(row[column(name)] for row in rows)) for name in kinds]
    place, width = Dict{Tuple{Int,String},Int}(), length(ADULT_NUMBERS)
    for (name, known) in zip(kinds, values), value in known
        place[column(name), value] = (width += 1)
    end
    function features(rows)
        x = zeros(Float32, width, length(rows))
        for (n, row) in enumerate(rows)
            for (i, name) in enumerate(ADULT_NUMBERS)
                x[i, n] = parse(Float32, row[column(name)])
            end
            for name in kinds
                i = get(place, (column(name), row[column(name)]), 0)
                i == 0 || (x[i, n] = 1)
            end
        end
        return x
    end
    owner(row) = row[column("education")] == "Doctorate" ? "Doctorate" : "others"
    return Dataset(features(rows), last.(rows), features(test), last.(test);
        name = "adult", owner = owner.(rows), owner_test = owner.(test))
end

"The rows of a file, each with its label as the last field."
function adult_rows(path)
    rows = Vector{String}[]
    for (i, line) in enumerate(eachline(path))
        text = chomp(line)
        isempty(strip(text)) || startswith(text, '|') && continue
        isempty(strip(text)) && continue
        row = String.(strip.(split(text, ',')))
        bad(why...) = fail("dataset adult: ", path, ", line ", i, ": expected ", why...)
        length(row) == length(ADULT_COLUMNS) + 1 ||
            bad(length(ADULT_COLUMNS) + 1, " fields, got ", length(row))
        for (name, field) in zip(ADULT_COLUMNS, row)
            name in ADULT_NUMBERS && something(tryparse(Float32, field), Inf32) == Inf32 &&
                bad("a number as ", name, ", got ", repr(first(field, 40)))
        end
        row[end] = chopsuffix(row[end], ".")          # the test file has a point behind it
        row[end] in ("<=50K", ">50K") ||
            bad("<=50K or >50K, got ", repr(first(row[end], 40)))
        push!(rows, row)
    end
    isempty(rows) && fail("dataset adult: ", path, " holds no samples")
    return rows
end

const HAR_FEATURES, HAR_ACTIVITIES = 561, 6

"""
    har(folder) -> Dataset

UCI's Human Activity Recognition from its folder, `train/X_train.txt`, `y_train.txt` and
`subject_train.txt`, and those of `test`: 561 features, 6 activities, with the labels 1 to 6
of the files. The subjects are the owners. No subject of the test data has training data, so
`client_test = 0.25` gives each client test data of its own.

Throws a [`FedFluxError`](@ref) that names file and line.

```julia
FedFlux.run(dataset = "har:path/to/UCI HAR Dataset", partition = "owner")
```
"""
function har(folder)
    function part(which)
        file(name, columns) = read_numbers("har",
            data_file("har", folder, joinpath(which, "$(name)_$which.txt")), columns)
        x, y, subject = file("X", HAR_FEATURES), file("y", 1), file("subject", 1)
        n = size(x, 2)
        (length(y), length(subject)) == (n, n) || fail("dataset har: in ",
            joinpath(folder, which), " there are ", n, " samples, ", length(y),
            " labels and ", length(subject),
            " subjects; expected the same number of each")
        all(in(1:HAR_ACTIVITIES), y) || fail("dataset har: y_", which,
            ".txt has a label outside 1 to ", HAR_ACTIVITIES)
        all(v -> isinteger(v) && abs(v) < 2^24, subject) ||
            fail("dataset har: subject_", which, ".txt has a subject that is no number")
        return x, Int.(vec(y)), Int.(vec(subject))
    end
    (x, y, subject), (xtest, ytest, _) = part("train"), part("test")
    return Dataset(x, y, xtest, ytest; name = "har", owner = subject)
end

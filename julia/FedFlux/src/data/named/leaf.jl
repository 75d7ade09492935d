# LEAF's JSON (Caldas et al. 2018, arXiv:1812.01097): FEMNIST, Shakespeare, Sent140, its
# synthetic data and others that are kept so.

const MOST_OF_LEAF = 2^33           # bytes of all files of a part
# Shakespeare's characters in LEAF's order (utils/language_utils.py); all others are one.
const LEAF_LETTERS =
    "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]" *
    "abcdefghijklmnopqrstuvwxyz}"

"""
    leaf(folder; window = 80, vocabulary = 10_000) -> Dataset

Read the .json files in the folders `train` and `test` of `folder`. Each has `users`, a
list of names, `num_samples`, and `user_data`, from a name to the samples `x` and the
targets `y`. The users are the owners. What `x` holds decides what becomes of it:

- lists of numbers: inputs; 784 of them are an image of 28×28, as FEMNIST's.
- texts of one length: characters, numbered as LEAF does. The target of each is the next
  one; that of the last is `y`.
- lists of texts, as Sent140's: the fifth is a tweet. Its lower-case words are numbered from
  1, the most frequent of the training data first, and all others have the last number, so
  that there are `vocabulary` tokens at most. A sample has the first `window` words, and 0
  in front if there are fewer.

Labels are numbers, or texts of numbers. Throws a [`FedFluxError`](@ref) that names the file
and the user, for files of more than 8 GiB together, and for data that is not as described.

```julia
FedFlux.run(dataset = "leaf:path/to/femnist/data", partition = "owner")
```
"""
function leaf(folder; window = 80, vocabulary = 10_000)
    folder = expanduser(folder)
    train, test = leaf_part(folder, "train"), leaf_part(folder, "test")
    kind = leaf_kind(train)
    kind == leaf_kind(test) || fail("dataset leaf: ", folder, " holds ", kind,
        " to train on and ", leaf_kind(test), " for test; expected the same")
    known = kind == "tweets" ? common_words(train, vocabulary) : Dict{String,Int32}()
    x, y = leaf_arrays(kind, train, known, window)
    xtest, ytest = leaf_arrays(kind, test, known, window)
    return Dataset(x, y, xtest, ytest; name = basename(rstrip(folder, '/')),
        owner = train.owners, owner_test = test.owners)
end

"The samples, the targets and the owners of a part, and where it is."
function leaf_part(folder, part)
    path = joinpath(folder, part)
    isdir(path) ||
        fail("dataset leaf: there is no folder ", path, "; expected the folders ",
            "train and test, each with .json files")
    files = filter(endswith(".json"), readdir(path; join = true))
    isempty(files) && fail("dataset leaf: there is no .json file in ", path)
    total = sum(filesize, files)
    total <= MOST_OF_LEAF || fail("dataset leaf: the files in ", path, " have ", total,
        " bytes together; expected at most ", MOST_OF_LEAF)
    x, y, owners = Any[], Any[], String[]
    for file in files
        content = try
            JSON.parse(read(file, String))
        catch err
            err isa InterruptException && rethrow()
            fail("dataset leaf: ", file, " can't be read as JSON: ", first_line(err))
        end
        add_users!(x, y, owners, file, content)
    end
    isempty(x) && fail("dataset leaf: there are no samples in ", path)
    return (; x, y, owners, path)
end

function add_users!(x, y, owners, file, content)
    bad(why...) = fail("dataset leaf: ", file, ": ", why...)
    content isa AbstractDict || bad("expected an object with users and user_data")
    users, data = get(content, "users", nothing), get(content, "user_data", nothing)
    counts = get(content, "num_samples", nothing)
    users isa AbstractVector && all(u -> u isa AbstractString, users) ||
        bad("expected a list of names as users")
    counts isa AbstractVector && length(counts) == length(users) ||
        bad("expected as many num_samples as users, ", length(users))
    data isa AbstractDict || bad("expected an object as user_data")
    for (user, n) in zip(users, counts)
        own = get(data, user, nothing)
        own isa AbstractDict &&
        all(k -> get(own, k, nothing) isa AbstractVector, ("x", "y")) ||
            bad("user_data of user ", repr(user), ": expected an object with lists x and y")
        length(own["x"]) == length(own["y"]) == n ||
            bad("user ", repr(user), " has ", length(own["x"]), " samples and ",
                length(own["y"]), " targets; expected ", n, ", as in num_samples")
        append!(x, own["x"])
        append!(y, own["y"])
        append!(owners, Iterators.repeated(String(user), length(own["x"])))
    end
end

function leaf_kind(part)
    all(s -> s isa AbstractString, part.x) && return "texts"
    all(s -> s isa AbstractVector && !isempty(s), part.x) ||
        fail(
            "dataset leaf: in ",
            part.path,
            " are samples that are neither lists nor texts"
        )
    all(s -> all(v -> v isa Real, s), part.x) && return "numbers"
    all(s -> length(s) >= 5 && s[5] isa AbstractString, part.x) && return "tweets"
    fail("dataset leaf: in ", part.path, " are samples that are neither numbers nor texts")
end

function leaf_arrays(kind, part, known, window)
    kind == "numbers" && return leaf_numbers(part), leaf_labels(part)
    kind == "texts" && return leaf_texts(part)
    x = zeros(Int, window, length(part.x))
    for (n, sample) in enumerate(part.x)
        found = first(words(sample[5]), window)
        for (i, word) in enumerate(found)
            x[window-length(found)+i, n] = get(known, word, length(known) + 1)
        end
    end
    return x, leaf_labels(part)
end

function leaf_numbers(part)
    size = length(first(part.x))
    x = Matrix{Float32}(undef, size, length(part.x))
    for (n, sample) in enumerate(part.x)
        length(sample) == size ||
            fail("dataset leaf: in ", part.path, " a sample of user ",
                repr(part.owners[n]), " has ", length(sample), " numbers; expected ", size)
        x[:, n] .= sample
    end
    return size == 784 ? reshape(x, 28, 28, :) : x
end

function leaf_labels(part)
    return map(enumerate(part.y)) do (n, y)
        v = y isa AbstractString ? tryparse(Float64, y) : y
        v isa Real && isinteger(v) && abs(v) < 2^53 && return Int(v)
        fail("dataset leaf: in ", part.path, " a target of user ", repr(part.owners[n]),
            " is ", first(repr(y), 40), "; expected a whole number")
    end
end

"Characters, (T, n), and the one after each of them."
function leaf_texts(part)
    number = Dict(c => i - 1 for (i, c) in enumerate(LEAF_LETTERS))
    of(c) = get(number, c, length(LEAF_LETTERS))
    size = length(first(part.x))
    x = Matrix{Int}(undef, size, length(part.x))
    y = similar(x)
    for (n, (text, next)) in enumerate(zip(part.x, part.y))
        length(text) == size > 0 ||
            fail("dataset leaf: in ", part.path, " a text of user ",
                repr(part.owners[n]), " has ", length(text), " characters; expected ",
                max(size, 1))
        next isa AbstractString && length(next) == 1 ||
            fail("dataset leaf: in ", part.path,
                " a target of user ", repr(part.owners[n]), " is ", first(repr(next), 40),
                "; expected one character")
        for (i, c) in enumerate(text)
            x[i, n] = of(c)
        end
        y[1:(end-1), n] .= x[2:end, n]
        y[end, n] = of(only(next))
    end
    return x, y
end

"""
The number of each word of the tweets, from 1; 0 is what fills a sample up, and one more
than these all other words.
"""
function common_words(part, vocabulary)
    all_words = common_tokens((words(sample[5]) for sample in part.x), typemax(Int))
    known = first(all_words, max(vocabulary - 2, 0))
    return Dict{String,Int32}(word => i for (i, word) in enumerate(known))
end

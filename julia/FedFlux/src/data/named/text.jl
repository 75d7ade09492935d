# Plays, split by speaking role: each role is a client, as in LEAF's Shakespeare (Caldas et
# al. 2018, arXiv:1812.01097).

"""
    shakespeare(path; tokens = "char", window = 80, vocabulary = 10_000,
                min_characters = 1000) -> (dataset, vocabulary)

Read one or several plays as a [`Dataset`](@ref) for next-token models. Its `owner`s are the
speaking roles. The file is plain text. A speech begins at the start of the file or after an
empty line; its first line is the role and a colon (`First Citizen:`, `甲：`).

- `tokens`: `"char"`, or `"word"` (lower-case words, punctuation marks and line ends; each
  Chinese character by itself, since no spaces part them).
- `window`: number of tokens in a sample. The targets are the same tokens, shifted by one.
  Samples do not overlap, except for the last target.
- `vocabulary`: maximum number of different tokens. The most frequent are kept, all others
  become the last one, `"<unknown>"`.
- `min_characters`: roles with fewer characters in total are left out, as are roles that are
  too short for one training sample.

The last fifth of each role's text is test data. Tokens are numbers from 0, positions in the
`vocabulary` that is returned with the data and made from the whole text. Throws a
[`FedFluxError`](@ref) for a missing file or a file without roles.

```julia
FedFlux.shakespeare("input.txt"; min_characters = 5000)   # input.txt: a file of your own
```
"""
function shakespeare(path; tokens = "char", window = 80, vocabulary = 10_000,
    min_characters = 1000)
    isfile(path) ||
        fail("dataset: there is no file ", path, "; expected the text of a play")
    said = filter(role -> length(last(role)) >= min_characters, roles(read_text(path)))
    split_tokens = tokens == "word" ? words : s -> string.(collect(s))
    texts = Dict(role => split_tokens(text) for (role, text) in said)
    filter!(role -> length(training_part(last(role))) > window, texts)
    isempty(texts) &&
        fail("dataset: ", path, " has no role with ", min_characters,
            " characters and a training sample of ", window, " tokens; expected speeches ",
            "that begin with `Name:` on a line of its own after an empty line")
    known = common_tokens(values(texts), vocabulary)
    number = Dict{String,Int32}(token => i - 1 for (i, token) in enumerate(known))
    numbers(tokens) = Int32[get(number, token, length(known) - 1) for token in tokens]
    names = sort!(collect(keys(texts)))
    train = [windows(numbers(training_part(texts[role])), window) for role in names]
    test = [windows(numbers(test_part(texts[role])), window) for role in names]
    join_samples(parts, i) = join_last(getindex.(parts, i))
    xtest, ytest = join_samples(test, 1), join_samples(test, 2)
    isempty(xtest) && ((xtest, ytest) = (nothing, nothing))
    owners(parts) =
        concatenated(String, fill.(names, [size(first(part), 2) for part in parts]))
    dataset = Dataset(join_samples(train, 1), join_samples(train, 2), xtest, ytest;
        name = "shakespeare", owner = owners(train),
        owner_test = xtest === nothing ? nothing : owners(test))
    return dataset, known
end

"The text of each role: its speeches, joined by line ends."
function roles(text)
    said = Dict{String,Vector{String}}()
    for speech in split(replace(text, "\r\n" => "\n"), r"\n\s*\n"; keepempty = false)
        m = match(r"^\s*(\S[^\n]{0,60})[:：]\n(.*)$"s, speech)
        m === nothing || push!(get!(said, m[1], String[]), m[2])
    end
    return Dict(role => join(speeches, '\n') for (role, speeches) in said)
end

const WORD = r"\p{Han}|(?:(?!\p{Han})[\p{L}\p{N}'’])+|[^\p{L}\p{N}'’\s]|\n"

"Lower-case words, punctuation marks and line ends."
words(text) = [String(m.match) for m in eachmatch(WORD, lowercase(text))]

const TRAINING_FIFTHS = 4
training_part(v) = v[1:(TRAINING_FIFTHS*length(v)÷5)]
test_part(v) = v[(TRAINING_FIFTHS*length(v)÷5+1):end]

"""
The `n` most frequent tokens, by frequency, then alphabetically. If there are more, the last
of the `n` is `"<unknown>"`.
"""
function common_tokens(texts, n)
    counts = Dict{String,Int}()
    for text in texts, token in text
        counts[token] = get(counts, token, 0) + 1
    end
    known = sort!(collect(keys(counts)); by = token -> (-counts[token], token))
    return length(known) <= n ? known : [known[1:(n-1)]; "<unknown>"]
end

"Samples of `T` tokens, (T, n), and their targets, the same shifted by one token, (T, n)."
function windows(tokens, T)
    n = length(1:T:(length(tokens)-T))
    shifted(by) = reshape(tokens[(1+by):(n*T+by)], T, n)
    return shifted(0), shifted(1)
end

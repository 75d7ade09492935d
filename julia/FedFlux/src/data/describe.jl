# Who holds what, as a table for people and as a report for Python.

"""
    describe([io,] clients; rows = 20)

Print who holds what: each client's number of samples and of each label (of the first `rows` clients), then a summary of all.
Where there are no labels, or too many for a line, how many different ones a client holds.

```julia
describe(Clients(rand(Float32, 8, 6), [0, 1, 0, 1, 0, 1], [1:3, 4:6]))
```
"""
describe(clients::Clients; rows = 20) = describe(stdout, clients; rows)

function describe(io::IO, clients::Clients; rows = 20)
    counts = label_table(clients)
    sizes = [nsamples(clients, k) for k in 1:length(clients)]
    wide = counts !== nothing && size(counts, 1) > MAX_LABEL_COLUMNS
    columns = counts === nothing ? zeros(Int, 0, length(clients)) : wide ? sum(>(0), counts; dims = 1) : counts
    names = wide ? ["labels"] : ["label $(c - 1)" for c in axes(columns, 1)]
    println(io, rpad("client", 8), lpad("samples", 8), lpad.(names, 9)...)
    for k in 1:min(rows, length(clients))
        println(io, rpad(k, 8), lpad(sizes[k], 8), lpad.(columns[:, k], 9)...)
    end
    length(clients) > rows && println(io, "… and ", length(clients) - rows, " more")
    print(io, length(clients), " clients, ", sum(sizes), " samples: ", minimum(sizes), " to ", maximum(sizes), " a client, ",
          "median ", quantile(sizes, 0.5))
    counts === nothing || print(io, "; ", minimum(held_labels(counts)), " to ", maximum(held_labels(counts)), " labels a client")
    println(io)
end

const MAX_LABEL_COLUMNS = 12

held_labels(counts) = vec(sum(>(0), counts; dims = 1))

"Label counts as `labelcounts` gives them, or `nothing` where the targets are no labels: integers, or 0 and 1 alone."
function label_table(c::Clients)
    eltype(c.y) <: Integer || all(v -> v == 0 || v == 1, c.y) || return nothing
    return labelcounts(c, Int(maximum(c.y; init = -1)) + 1)
end

const MAX_CLIENTS_REPORTED = 1000

"""
Who holds what, for JSON: `sizes` and `labels` (a list of counts for each client; left out where there are no labels), or for
more than $MAX_CLIENTS_REPORTED clients their spreads alone, `sizes` and `labels_held`.
"""
function holdings(clients::Clients)
    counts = label_table(clients)
    sizes = [nsamples(clients, k) for k in 1:length(clients)]
    facts = Dict{String,Any}("clients" => length(clients), "samples" => sum(sizes))
    if length(clients) > MAX_CLIENTS_REPORTED
        facts["sizes"] = spread(sizes)
        counts === nothing || (facts["labels_held"] = spread(held_labels(counts)))
    else
        facts["sizes"] = sizes
        counts === nothing || (facts["labels"] = collect(eachcol(counts)))
    end
    return facts
end

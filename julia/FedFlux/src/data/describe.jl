# What each client holds, as a table and as a report for Python.

const MAX_LABEL_COLUMNS = 12

"""
    describe([io,] clients; rows = 20, classes = nothing)

Print what each client holds: for the first `rows` clients the number of samples and the
number of samples per label, then a summary of all clients. With more than
$MAX_LABEL_COLUMNS labels, the number of different labels per client stands in for the
numbers per label. `classes` are the labels that the numbers from 0 stand for, if they do.

```julia
describe(Clients(rand(Float32, 8, 6), [0, 1, 0, 1, 0, 1], [1:3, 4:6]))
```
"""
describe(clients::Clients; options...) = describe(stdout, clients; options...)

function describe(io::IO, clients::Clients; rows = 20, classes = nothing)
    counts = label_table(clients)
    sizes = [nsamples(clients, k) for k = 1:length(clients)]
    wide = counts !== nothing && size(counts, 1) > MAX_LABEL_COLUMNS
    columns =
        counts === nothing ? zeros(Int, 0, length(clients)) :
        wide ? sum(>(0), counts; dims = 1) : counts
    name(c) = classes === nothing ? "label $(c - 1)" : first(string(classes[c]), 20)
    names = wide ? ["labels"] : map(name, axes(columns, 1))
    widths = max.(9, textwidth.(names) .+ 1)
    println(io, rpad("client", 8), lpad("samples", 8), lpad.(names, widths)...)
    for k = 1:min(rows, length(clients))
        println(io, rpad(k, 8), lpad(sizes[k], 8), lpad.(columns[:, k], widths)...)
    end
    length(clients) > rows && println(io, "… and ", length(clients) - rows, " more")
    print(io, length(clients), " clients, ", sum(sizes), " samples: ", minimum(sizes),
        " to ", maximum(sizes), " per client, median ", quantile(sizes, 0.5))
    if counts !== nothing
        fewest, most = extrema(held_labels(counts))
        print(io, "; ", fewest, " to ", most, " labels per client")
    end
    println(io)
end

held_labels(counts) = vec(sum(>(0), counts; dims = 1))

"""
The counts of [`labelcounts`](@ref), or `nothing` if the targets are not labels: neither
integers nor only 0 and 1.
"""
function label_table(c::Clients)
    eltype(c.y) <: Integer || all(v -> v == 0 || v == 1, c.y) || return nothing
    return labelcounts(c, Int(maximum(c.y; init = -1)) + 1)
end

const MAX_CLIENTS_REPORTED = 1000
"A result has a row for each client for up to as many."
const MAX_CLIENTS_LISTED = 100_000

"""
    holdings(clients) -> Dict{String,Any}

What each client holds, for JSON: the number of `clients` and `samples`, the `sizes` of the
clients, and the `labels`, a list of counts per client. `labels` is left out if the targets
are not labels. For more than $MAX_CLIENTS_REPORTED clients only the [`spread`](@ref)s of
`sizes` and `labels_held` are given.
"""
function holdings(clients::Clients)
    counts, facts = label_table(clients), sizes_held(clients)
    counts === nothing && return facts
    many = length(clients) > MAX_CLIENTS_REPORTED
    many ? (facts["labels_held"] = spread(held_labels(counts))) :
    (facts["labels"] = collect(eachcol(counts)))
    return facts
end

"What [`holdings`](@ref) says of the clients' sizes."
function sizes_held(clients::Clients)
    sizes = [nsamples(clients, k) for k = 1:length(clients)]
    return Dict{String,Any}("clients" => length(clients), "samples" => sum(sizes),
        "sizes" => length(clients) > MAX_CLIENTS_REPORTED ? spread(sizes) : sizes)
end

"Minimum, quartiles and maximum, or `nothing` for an empty collection."
function spread(values)
    isempty(values) && return nothing
    q = quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0))
    return (; min = q[1], q1 = q[2], median = q[3], q3 = q[4], max = q[5])
end

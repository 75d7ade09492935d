# What the site says of the core: its docstrings, and which methods go together.

using FedFlux
using FedFlux: JSON, SPECS, build, chain_position, conflict

"The docstrings of each documented name of the core, with the file of each."
function docstrings()
    source = joinpath(pkgdir(FedFlux), "src")
    return Dict(
        string(binding.var) => [
            Dict("text" => join(filter(x -> x isa AbstractString, collect(doc.text))),
                "file" => relpath(doc.data[:path], source),
                "line" => doc.data[:linenumber])
            for doc in (multi.docs[signature] for signature in multi.order)
        ] for (binding, multi) in Base.Docs.meta(FedFlux) if binding.mod == FedFlux
    )
end

"Each object of a kind that its defaults make, by name."
function made(kind)
    objects = Pair{String,Any}[]
    for name in sort!(collect(keys(SPECS[kind])))
        try
            push!(objects, name => build(kind, name))
        catch err
            err isa FedFluxError || rethrow()
        end
    end
    return objects
end

"Each rule with the rules and aggregators that refuse it, and their reasons."
function refusals()
    rules, aggregators = made("rule"), made("aggregate")
    reason(a, b) = something(conflict(a, b), conflict(b, a), "")
    return Dict(
        name => Dict(
            "rule" => Dict(
                other => reason(r, o) for (other, o) in rules
                if other != name && !isempty(reason(r, o))
            ),
            "aggregate" => Dict(
                other => conflict(r, o) for (other, o) in aggregators
                if conflict(r, o) !== nothing
            )) for (name, r) in rules
    )
end

site_facts() = JSON.json(
    Dict("docs" => docstrings(), "refusals" => refusals(),
        "exported" => string.(filter(!=(:FedFlux), names(FedFlux))))
)

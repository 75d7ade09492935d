# The arrays of a model by name, and those among them that train.

"All Float32 arrays of a model with their names, each once, in the model's order."
function named_arrays(model)
    found, seen = Pair{String,AbstractArray{Float32}}[], Base.IdSet{Any}()
    each_node(model) do name, node
        node isa AbstractArray{Float32} && Functors.isleaf(node) && node ∉ seen || return
        push!(seen, node)
        push!(found, name => node)
    end
    return found
end

"Call `f(name, node)` for all that a model consists of, its layers and their arrays."
function each_node(f, node, name = "")
    f(name, node)
    Functors.isleaf(node) && return
    for (key, child) in pairs(Functors.children(node))
        each_node(f, child, isempty(name) ? string(key) : string(name, '.', key))
    end
end

"""
Whether an array's name is one of `names` or lies below one, as `layers.1.weight` does below
`layers.1`.
"""
is_named(name, names) = any(n -> name == n || startswith(name, n * "."), names)

function check_names(model, names)
    isempty(names) && return
    known = first.(named_arrays(model))
    for name in names
        any(k -> is_named(k, (name,)), known) && continue
        layers = unique(first(rsplit(k, '.'; limit = 2)) for k in known)
        fail("freeze: the model has no ", name, "; expected names of layers, such as ",
            join(layers, ", "), ", or of arrays, such as ", first(known))
    end
end

"The arrays of a model that train, in model order: all but those that `freeze` names."
function trained(model, freeze)
    isempty(freeze) && return Optimisers.trainables(model)
    return AbstractArray[
        a for (path, a) in Optimisers.trainables(model; path = true)
        if !is_named(join(path.keys, '.'), freeze)
    ]
end

# A data set by its name.

"""
    load_dataset(name; dir = nothing, text = (;)) -> (dataset, warning)

Load a data set by name: `mnist`, `fashionmnist`, `digits`, the path of an .npz file,
`shakespeare:` followed by the path of a play (with the options `text` of
[`shakespeare`](@ref)), or `auto`. `auto` is MNIST if it is cached or can be downloaded,
else digits with a `warning`. Otherwise `warning` is `nothing`.
"""
function load_dataset(name; dir = nothing, text = (;))
    if startswith(name, "shakespeare:")
        return first(shakespeare(chopprefix(name, "shakespeare:"); text...)), nothing
    end
    name == "digits" && return digits(), nothing
    name in ("mnist", "fashionmnist") && return load_mldataset(name, dir), nothing
    name == "auto" || return load_npz(name), nothing
    try
        return load_mldataset("mnist", dir), nothing
    catch err
        err isa FedFluxError || rethrow()
        return digits(), "$(err.message); the run uses digits (8×8 images) instead"
    end
end

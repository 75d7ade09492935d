# A data set by its name.

"""
    load_dataset(name; dir = nothing, text = (;)) -> (dataset, warning)

Load a data set by its text: a name of datasets.toml, with a path or a part behind a colon
or parameters in brackets, the path of an .npz file, or `auto`. `text` has the options of
[`shakespeare`](@ref), two of which are [`leaf`](@ref)'s too. `auto` is MNIST if it is
cached or can be downloaded, else digits with a `warning`. Otherwise `warning` is `nothing`.
"""
function load_dataset(text_of; dir = nothing, text = (;))
    found = named_dataset(text_of)
    found === nothing || return load_named(found..., text_of, dir, text), nothing
    text_of == "auto" || return load_npz(text_of), nothing
    try
        return load_mldataset("mnist", "", dir), nothing
    catch err
        err isa FedFluxError || rethrow()
        return digits(), "$(err.message); the run uses digits (8×8 images) instead"
    end
end

function load_named(name, more, whole, dir, text)
    entry = DATASETS[name]
    if get(entry, "path", false)
        isempty(something(more, "")) &&
            fail("dataset ", name, ": expected a path behind it, ", name, ":PATH, got ",
                repr(first(whole, 80)))
        name == "shakespeare" && return first(shakespeare(more; text...))
        limits = NamedTuple(k => v for (k, v) in pairs(text) if k in (:window, :vocabulary))
        return name == "leaf" ? leaf(more; limits...) :
               name == "adult" ? adult(more) :
               har(more)
    end
    name == "synthetic" && return synthetic(; dataset_parameters(whole)...)
    name == "fcube" && return fcube(; dataset_parameters(whole)...)
    occursin('(', whole) && fail("dataset ", name, " takes no parameters, got ",
        repr(first(whole, 80)))
    part = dataset_part(name, more)
    return name == "digits" ? digits() : load_mldataset(name, part, dir)
end

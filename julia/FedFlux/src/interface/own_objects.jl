# Julia objects in the place of an option's name: their kinds, and how they are recorded.

"What an object given for an option must be, by the option."
const OBJECT_TYPES = Dict("dataset" => Dataset, "rules" => Rule, "download" => Rule,
    "aggregate" => Aggregator, "sampling" => Sampling, "availability" => Availability,
    "augment" => Augmentation, "faults" => Fault, "server" => Optimisers.AbstractRule,
    "optimizer" => Optimisers.AbstractRule)

"Throw if an object that the options hold is of the wrong kind."
function check_objects(o::Options)
    o.aggregate isa Union{Tuple,AbstractVector} &&
        fail("aggregate: expected one aggregator, got several; under secure aggregation ",
            "and CKKS the server knows nothing but the sum of the updates, so no function ",
            "of yours can combine them")
    for (name, value) in object_options(o), object in listed_objects(value)
        (is_text(object) || name == "validation") && continue    # data, checked as such
        expected = get(OBJECT_TYPES, name, nothing)
        if expected !== nothing
            object isa expected || is_own_function(name, object) ||
                fail("option ", name, " holds a ", type_name(object), "; expected ",
                    "a name or a FedFlux.", nameof(expected))
        elseif name in ("loss", "partition")
            isempty(methods(object)) &&
                fail("option ", name, " is a ", type_name(object),
                    "; expected a name or something that can be called")
        end
        check_settings(get(DECLARED_OPTIONS[name], "kind", name), object)
    end
end

"Whether an object is a plain function, and the option takes one."
is_own_function(name, object) =
    object isa Function && object_of(Val(Symbol(name)), object) !== object

"Check the numbers in an object that has a name too, by the bounds declared for that name."
function check_settings(kind, object)
    T = typeof(object)
    for (name, entry) in get(SPECS, kind, Dict{String,Any}())
        entry["class"] == string(nameof(T)) || continue
        for (p, declared) in get(entry, "params", Dict{String,Any}())
            value = hasfield(T, Symbol(p)) ? getfield(object, Symbol(p)) : nothing
            value isa Real && check_bounds("$kind $name, parameter $p", declared, value)
        end
    end
end

listed_objects(value) = (value,)
listed_objects(value::Union{Tuple,AbstractVector}) = value

"""
    type_name(object) -> String, or a list of those

How an object in the options is recorded: the name of its type, or of a function; a text
stays as it is.
"""
type_name(object) = string(nameof(typeof(object)))
type_name(text::Union{AbstractString,Symbol}) = string(text)
type_name(objects::Union{Tuple,AbstractVector}) =
    Any[type_name(object) for object in objects]
type_name(f::Function) = function_name(f)
type_name((name, f)::Pair) = string(name)      # of a metric
type_name(metrics::Union{NamedTuple,AbstractDict}) = names_in(metrics)
type_name(
    object::Union{FunctionAggregate,FunctionSampling,FunctionAvailability,FunctionStep}
) = object.name

"""
The loss that the options name or hold. `counts()` are the numbers of samples of each class,
for class weights that are "balanced"; without it, those are left out.
"""
loss_of(o::Options, counts = nothing) =
    o.loss isa AbstractString ? named_loss(o.loss, o, counts) : o.loss

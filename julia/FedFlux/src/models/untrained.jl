# What a model holds beside the parameters that train: running statistics, which change in
# training and are sent, and arrays that stay as they are.

const Normalization = Union{Flux.BatchNorm,Flux.InstanceNorm,Flux.GroupNorm}

"""
    running_statistics(layer) -> tuple of arrays

The arrays of a layer that change in training without a gradient: the running mean and
variance of Flux's BatchNorm, InstanceNorm and GroupNorm, unless the layer is in test mode
(`Flux.testmode!`); of other layers none. Clients send their change, and the server averages
it. All other arrays that don't train stay as they are, and are not sent.

Add a method for a layer of your own that changes arrays when it trains:

```julia
struct MyNorm
    mean::Vector{Float32}
end
FedFlux.running_statistics(l::MyNorm) = (l.mean,)
```
"""
running_statistics(layer) = ()
running_statistics(l::Normalization) = l.active === false ? () : moments_of(l)

moments_of(l::Normalization) = filter(a -> a isa AbstractArray, (l.μ, l.σ²))

"""
The Float32 arrays of a model that are not trained but are sent with it: its
[`running_statistics`](@ref).
"""
statistics(model) = AbstractArray{Float32}[a for (_, a) in named_statistics(model)]

"The same with their names, such as `layers.2.μ`, in their order."
named_statistics(model) = arrays_among(running_statistics, model)

"""
The statistics that a model needs to predict, by name: those that change in training, and
those of normalization layers in test mode.
"""
all_statistics(model) =
    arrays_among(model) do l
        l isa Normalization ? moments_of(l) : running_statistics(l)
    end

"The mean and variance of normalization layers in test mode, which stay as they are."
fixed_moments(model) = AbstractArray{Float32}[a for (_, a) in named_fixed_moments(model)]

named_fixed_moments(model) =
    arrays_among(model) do l
        l isa Normalization && l.active === false ? moments_of(l) : ()
    end

"The named Float32 arrays of a model that `f(layer)` gives for one of its layers."
function arrays_among(f, model)
    wanted = Base.IdSet{Any}(Any[a for l in Flux.modules(model) for a in f(l)])
    isempty(wanted) && return Pair{String,AbstractArray{Float32}}[]
    return filter(p -> last(p) in wanted, named_arrays(model))
end

"The named Float32 arrays of a model that neither train nor are statistics."
function fixed_arrays(model, freeze = String[])
    changing = Base.IdSet{Any}(trained(model, freeze))
    foreach(a -> push!(changing, a), statistics(model))
    return filter(p -> last(p) ∉ changing, named_arrays(model))
end

"""
    freeze!(model, names) -> model

Let the normalization layers that `names` has, or that lie below one of them, stay as they
are: in test mode they change no running statistics. (That parameters don't train is what
[`Layout`](@ref) is for.) Throws a [`FedFluxError`](@ref) for a name that the model doesn't
have.

```julia
model = Chain(Dense(4 => 8), BatchNorm(8), Dense(8 => 2))
FedFlux.freeze!(model, ["layers.1", "layers.2"])
```
"""
function freeze!(model, names)
    check_names(model, names)
    isempty(names) && return model
    each_node(model) do name, node
        node isa Normalization && is_named(name, names) && (node.active = false)
    end
    return model
end

# Sequences of different lengths, filled up to the same length at their end.

"""
    Padded(layers...; padding = 1)

The first layers of a model of sequences of different lengths, whose ends are filled with
`padding`: tokens, counted from 1, or steps of floats all of which are that number. What
follows the last real step has no part in the output and gets no gradient: `last_step` takes
the last real step, `mean_of_steps` the mean of the real ones, and attention sees those
alone. One of the `layers` must be `last_step` or `mean_of_steps`. A sequence of padding
alone counts as one step.

```julia
text = Chain(FedFlux.Padded(Embedding(9 => 4), LSTM(4 => 6), FedFlux.last_step),
    Dense(6 => 2))
text([3 5; 2 1; 4 1])      # 2×2: the second text is the token 5 alone
```
"""
struct Padded{L}
    layers::L
    padding::Float32
end
Flux.@layer Padded

function Padded(layers...; padding = 1)
    any(l -> l isa Union{typeof(last_step),typeof(mean_of_steps)}, layers) ||
        fail("Padded: expected last_step or mean_of_steps among its layers, so that what ",
            "is padded has no part in its output")
    return Padded(Chain(layers...), Float32(padding))
end

function (m::Padded)(x)
    lengths = Zygote.ignore_derivatives(() -> real_steps(x, m.padding))
    return masked(m.layers, x, lengths)
end

"The number of steps of each sample up to the last that isn't padding, at least 1."
real_steps(x::AbstractMatrix, padding) =
    [something(findlast(!=(padding), tokens), 1) for tokens in eachcol(x)]
real_steps(x::AbstractArray{<:Any,3}, padding) =
    [
        something(findlast(step -> any(!=(padding), step), collect(eachcol(sample))), 1)
        for sample in eachslice(x; dims = 3)
    ]

"The layer on sequences of these lengths."
masked(l, x, lengths) = l(x)
function masked(c::Chain, x, lengths)
    for l in values(c.layers)      # Zygote has no gradient for the `init` of a foldl
        x = masked(l, x, lengths)
    end
    return x
end
masked(l::SkipConnection, x, lengths) = l.connection(masked(l.layers, x, lengths), x)
masked(l::Parallel, x, lengths) =
    l.connection(map(b -> masked(b, x, lengths), values(l.layers))...)
masked(::typeof(last_step), x, lengths) =
    x[:, CartesianIndex.(lengths, eachindex(lengths))]

function masked(::typeof(mean_of_steps), x, lengths)
    weights = Zygote.ignore_derivatives() do
        [t <= n ? 1.0f0 / n : 0.0f0 for _ = 1:1, t in axes(x, 2), n in lengths]
    end
    return dropdims(sum(x .* weights; dims = 2); dims = 2)
end

function masked(l::SelfAttention, x, lengths)
    mask = Zygote.ignore_derivatives() do
        steps = axes(x, 2)
        [s <= n && (!l.causal || s <= t) for s in steps, t in steps, _ = 1:1, n in lengths]
    end
    return first(l.attention(x; mask))
end

Base.show(io::IO, m::Padded) =
    print(io, "Padded(", join(m.layers.layers, ", "), "; padding = ", m.padding, ")")

"The first layer of a model that isn't one of the containers `Chain` and `Padded`."
first_layer(l) = l
first_layer(m::Chain) = first_layer(first(m.layers))
first_layer(m::Padded) = first_layer(m.layers)

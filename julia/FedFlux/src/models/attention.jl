# Attention and positions, as layers that take a sequence and give one.

"""
    SelfAttention(size; heads = 4, causal = false, bias = true, init = glorot_uniform)
    SelfAttention(attention::Flux.MultiHeadAttention; causal = false)

Multi-head attention of a sequence to itself (Vaswani et al. 2017, arXiv:1706.03762,
section 3.2): Flux's `MultiHeadAttention` without the weights that it returns beside.
Maps (size, T, N) to (size, T, N).

- `size`: number of values in each step.
- `heads`: number of heads, a divisor of `size`.
- `causal`: whether a step sees itself and the steps before it alone.
- `bias`: whether the four projections have biases.
- `init`: draws their weights.

```julia
FedFlux.SelfAttention(8; heads = 2, causal = true)(rand(Float32, 8, 5, 3))   # 8×5×3
```
"""
struct SelfAttention{M}
    attention::M
    causal::Bool
end
Flux.@layer :noexpand SelfAttention

SelfAttention(attention::Flux.MultiHeadAttention; causal = false) =
    SelfAttention(attention, causal)

function SelfAttention(size::Integer; heads = 4, causal = false, bias = true,
    init = Flux.glorot_uniform)
    size >= 1 && heads >= 1 && size % heads == 0 ||
        fail("SelfAttention: size is ", size, " and heads is ", heads, "; expected heads ",
            "that divide the size")
    return SelfAttention(Flux.MultiHeadAttention(size; nheads = heads, bias, init), causal)
end

(l::SelfAttention)(x::AbstractArray{<:Any,3}) =
    first(l.attention(x; mask = l.causal ? NNlib.make_causal_mask(x) : nothing))

Base.show(io::IO, l::SelfAttention) =
    print(io, "SelfAttention(", l.attention, "; causal = ", l.causal, ")")

"""
    Positions(size, longest; init = glorot_uniform)

Adds a learned vector to each step of a sequence, the same in every sample (Radford et al.
2018). Maps (size, T, N) to (size, T, N) for T of at most `longest`.

```julia
FedFlux.Positions(8, 20)(zeros(Float32, 8, 5, 3))     # 8×5×3
```
"""
struct Positions{W}
    weight::W
end
Flux.@layer Positions

Positions(size::Integer, longest::Integer; init = Flux.glorot_uniform) =
    Positions(init(size, longest))

function (l::Positions)(x::AbstractArray{<:Any,3})
    steps, longest = size(x, 2), size(l.weight, 2)
    steps <= longest || fail("Positions: the sequence has ", steps, " steps; the layer ",
        "has vectors for ", longest)
    return x .+ l.weight[:, 1:steps]
end

Base.show(io::IO, l::Positions) =
    print(io, "Positions(", join(size(l.weight), ", "), ")")

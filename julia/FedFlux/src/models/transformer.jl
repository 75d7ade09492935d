# A small transformer over tokens.

"""
    transformer(vocabulary; longest = 80, embedding = 64, hidden = (256, 256),
                heads = nothing, classes = 0, padding = nothing,
                rng = Random.default_rng())

A transformer with the norms before its layers (Vaswani et al. 2017, arXiv:1706.03762; the
order of Radford et al. 2019): an Embedding plus learned [`Positions`](@ref), a block for
each size in `hidden`, a LayerNorm and a Dense layer. A block adds to its input
[`SelfAttention`](@ref) of its LayerNorm, and to that two Dense layers of its LayerNorm, to
the block's size in `hidden` with gelu and back.

- `vocabulary`: number of tokens.
- `longest`: the most tokens that a sample may have.
- `embedding`: size of a token's vector, and of each step between the blocks.
- `hidden`: the inner size of each block, so also how many there are.
- `heads`: number of heads; `nothing`: one for every 16 values of the embedding, or fewer so
  that they divide it.
- `classes`: 0 for the next token at every position, where a step sees itself and those
  before it; otherwise the number of classes of a text, from the mean of all steps, each of
  which sees all others.
- `padding`: the token that fills texts of different lengths up at their end, see
  [`Padded`](@ref); only with `classes`. `nothing`: there is none.
- `rng`: draws the Glorot-uniform weights; biases are zero.

Maps tokens from 1, (T, N), to logits, (vocabulary, T, N) or (classes, N). With the default
sizes and 65 tokens it has 113,601 parameters.

```julia
transformer(65)(rand(1:65, 80, 5))                    # 65×80×5
transformer(65; classes = 3)(rand(1:65, 20, 5))       # 3×5
```
"""
function transformer(vocabulary::Integer; longest = 80, embedding = 64,
    hidden = (256, 256), heads = nothing, classes = 0, padding = nothing,
    rng = Random.default_rng())
    sizes = (vocabulary, longest, embedding, hidden...)
    all(>(0), sizes) && !isempty(hidden) && classes >= 0 ||
        fail("transformer: the sizes are ", join(sizes, ", "), " and classes is ", classes,
            "; expected positive numbers, and at least one block")
    padding === nothing || classes > 0 ||
        fail("transformer: padding is ", padding, " and classes is 0; expected a number ",
            "of classes, since the next token of padding means nothing")
    outputs = classes == 0 ? vocabulary : classes
    blocks = sum(h -> big(embedding) * (4 * embedding + 2 * h + 9) + h, hidden)
    check_parameters("transformer", (embedding, outputs),
        blocks + big(embedding) * (vocabulary + longest + 2))
    init = Flux.glorot_uniform(rng)
    heads, causal = something(heads, heads_of(embedding)), classes == 0
    front = (Flux.Embedding(vocabulary => embedding; init),
        Positions(embedding, longest; init),
        # Each block draws its weights before the next; a lazy generator would not.
        [transformer_block(embedding, h, heads, causal, init) for h in hidden]...,
        LayerNorm(embedding))
    logits = Dense(embedding => outputs; init)
    causal && return Chain(front..., logits)
    padding === nothing && return Chain(front..., mean_of_steps, logits)
    return Chain(Padded(front..., mean_of_steps; padding), logits)
end

"One head for every 16 values, or fewer so that they divide them."
heads_of(embedding) = last(h for h = 1:max(1, embedding÷16) if embedding % h == 0)

transformer_block(size, hidden, heads, causal, init) = Chain(
    SkipConnection(
        Chain(LayerNorm(size), SelfAttention(size; heads, causal, init)), +),
    SkipConnection(
        Chain(LayerNorm(size), Dense(size => hidden, gelu; init),
            Dense(hidden => size; init)), +))

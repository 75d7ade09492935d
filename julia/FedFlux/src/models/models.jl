# The models that a run can name, as ordinary Flux models. Any other Flux model can be
# passed instead.

include("residual.jl")
include("more_layers.jl")
include("attention.jl")
include("padded.jl")
include("transformer.jl")
include("described.jl")
include("description.jl")

"""
    case_study_cnn(; imgsize = (28, 28), channels = 1, classes = 10,
                   rng = Random.default_rng())

The CNN of the case study: three 3×3 convolutions to 16, 32 and 64 channels, each with
relu, stride 2 and pad 1, then flatten and a Dense layer; 33,546 parameters for MNIST. The
case study also lists a 2×2 max-pool after each convolution, which with stride 2 shrinks a
28-pixel image to nothing. Its Dense layer (64·4·4 inputs) is sized for the strided
convolutions alone, so this model leaves the pools out.

- `imgsize`: width and height of the images in pixels.
- `channels`: number of channels of the images.
- `classes`: number of outputs.
- `rng`: draws the Glorot-uniform weights; biases are zero.

Maps (W, H, channels, N) to logits (classes, N).

```julia
case_study_cnn()(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
function case_study_cnn(; imgsize = (28, 28), channels = 1, classes = 10,
    rng = Random.default_rng())
    checksizes(imgsize, channels, classes)
    init = Flux.glorot_uniform(rng)
    conv(in, out) = Conv((3, 3), in => out, relu; stride = 2, pad = 1, init)
    side(n) = foldl((m, _) -> cld(m, 2), 1:3; init = n)
    check_parameters("case_study_cnn", (64 * prod(big ∘ side, imgsize), classes))
    return Chain(conv(channels, 16), conv(16, 32), conv(32, 64), Flux.flatten,
        Dense(64 * prod(side, imgsize) => classes; init))
end

# Two 5×5 convolutions, each followed by a 2×2 max-pool, then dense layers: LeNet-5 and
# McMahan's CNN.
function conv_pool_net(name, imgsize, channels, classes, rng; filters, pads, dense)
    checksizes(imgsize, channels, classes)
    init = Flux.glorot_uniform(rng)
    sides = map(imgsize) do side
        for i = 1:2
            conv, pool = "layer $(2i - 1), Conv 5×5,", "layer $(2i), MaxPool 2×2,"
            side = side_after(side, 5, 1, pads[i], "$name, $conv", imgsize)
            side = side_after(side, 2, 2, 0, "$name, $pool", imgsize)
        end
        side
    end
    widths = (filters[2] * prod(sides), dense...)
    check_parameters(name, (widths..., classes))
    return Chain(Conv((5, 5), channels => filters[1], relu; pad = pads[1], init),
        MaxPool((2, 2)),
        Conv((5, 5), filters[1] => filters[2], relu; pad = pads[2], init),
        MaxPool((2, 2)), Flux.flatten,
        # a lazy generator would draw after the last layer
        [Dense(widths[i] => widths[i+1], relu; init) for i = 1:length(dense)]...,
        Dense(widths[end] => classes; init))
end

"""
    lenet(; imgsize = (28, 28), channels = 1, classes = 10, rng = Random.default_rng())

LeNet-5 with relu and max-pools (LeCun et al. 1998): 5×5 convolutions to 6 (pad 2) and 16
channels, each with a 2×2 pool, then Dense layers of 120 and 84. Maps (W, H, channels, N)
to logits (classes, N). Throws a [`FedFluxError`](@ref) if the images are too small for the
layers.

```julia
lenet()(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
lenet(; imgsize = (28, 28), channels = 1, classes = 10, rng = Random.default_rng()) =
    conv_pool_net("lenet", imgsize, channels, classes, rng;
        filters = (6, 16), pads = (2, 0), dense = (120, 84))

"""
    mcmahan_cnn(; imgsize = (28, 28), channels = 1, classes = 10,
                rng = Random.default_rng())

The CNN of McMahan et al. 2017 (arXiv:1602.05629): 5×5 convolutions to 32 and 64 channels
(pad 2), each with a 2×2 max-pool, a Dense layer of 512, logits; 1,663,370 parameters for
MNIST. Maps (W, H, channels, N) to (classes, N). Throws a [`FedFluxError`](@ref) if the
images are too small for the layers.

```julia
mcmahan_cnn()(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
mcmahan_cnn(; imgsize = (28, 28), channels = 1, classes = 10, rng = Random.default_rng()) =
    conv_pool_net("mcmahan_cnn", imgsize, channels, classes, rng;
        filters = (32, 64), pads = (2, 2), dense = (512,))

"""
    mlp(inputs, classes = 10; hidden = (200, 200), rng = Random.default_rng())

A multilayer perceptron: flatten, a relu Dense layer for each size in `hidden`, logits. The
default is McMahan's "2NN" (arXiv:1602.05629). `inputs` is the number of values in one
sample. Maps (…, N) to (classes, N).

```julia
mlp(28 * 28)(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
function mlp(inputs::Integer, classes::Integer = 10; hidden = (200, 200),
    rng = Random.default_rng())
    widths = (inputs, hidden..., classes)
    all(>(0), widths) ||
        fail("mlp: the layer sizes are ", join(widths, ", "), "; expected positive numbers")
    check_parameters("mlp", widths)
    init = Flux.glorot_uniform(rng)
    activation(i) = i < length(widths) - 1 ? relu : identity
    layers = [Dense(widths[i] => widths[i+1], activation(i); init)
     for i = 1:(length(widths)-1)]
    return Chain(Flux.flatten, layers...)
end

"""
    softmax_regression(inputs, classes = 10; rng = Random.default_rng())

One Dense layer on the flattened input. Maps (…, N) to logits (classes, N).

```julia
softmax_regression(28 * 28)(rand(Float32, 28, 28, 1, 5))   # 10×5
```
"""
softmax_regression(inputs::Integer, classes::Integer = 10; rng = Random.default_rng()) =
    mlp(inputs, classes; hidden = (), rng)

"""
    next_token(vocabulary; cell = "lstm", embedding = 8, hidden = (200, 200),
               rng = Random.default_rng())

A next-token model: an Embedding, a recurrent layer for each size in `hidden`, and a Dense
layer at every position. With characters, `embedding = 8` and `hidden = (256, 256)` it is
McMahan et al.'s stacked LSTM (arXiv:1602.05629, section 3).

- `vocabulary`: number of tokens.
- `cell`: `"rnn"` (tanh), `"gru"` or `"lstm"`.
- `embedding`: size of a token's vector.
- `rng`: draws the Glorot-uniform weights; biases are zero.

Maps tokens from 1, (T, N), to the logits of each next token, (vocabulary, T, N). Every
sample starts from the zero state.

```julia
next_token(65; hidden = (32,))(rand(1:65, 80, 5))   # 65×80×5
```
"""
function next_token(vocabulary::Integer; cell = "lstm", embedding = 8, hidden = (200, 200),
    rng = Random.default_rng())
    haskey(CELLS, cell) ||
        fail("next_token: cell is ", repr(cell), "; expected rnn, gru or lstm")
    widths = (embedding, hidden...)
    all(>(0), (vocabulary, widths...)) && !isempty(hidden) ||
        fail("next_token: the sizes are ", join((vocabulary, widths...), ", "),
            "; expected positive numbers, and at least one recurrent layer")
    gates = GATES[cell]
    layers = sum(i -> big(gates) * widths[i+1] * (widths[i] + widths[i+1] + 1),
        1:length(hidden))
    check_parameters("next_token", (last(widths), vocabulary, embedding), layers)
    init = Flux.glorot_uniform(rng)
    recurrent(in, out) =
        CELLS[cell](in => out; init_kernel = init, init_recurrent_kernel = init)
    return Chain(Flux.Embedding(vocabulary => embedding; init),
        (recurrent(widths[i], widths[i+1]) for i = 1:length(hidden))...,
        Dense(last(widths) => vocabulary; init))
end

const GATES = Dict("rnn" => 1, "gru" => 3, "lstm" => 4)
const CELLS = Dict("rnn" => Flux.RNN, "gru" => Flux.GRU, "lstm" => Flux.LSTM)

"Whether a model, or the model with this name, takes tokens."
takes_tokens(name::Union{AbstractString,Symbol}) =
    is_described(name) ? described_tokens(name) :
    string(name) == "transformer" || haskey(CELLS, string(name))
takes_tokens(model) = model isa Chain && first_layer(model) isa Flux.Embedding

const IMAGE_MODELS = Dict("case_study_cnn" => case_study_cnn, "lenet" => lenet,
    "mcmahan_cnn" => mcmahan_cnn, "resnet8" => resnet8, "resnet18_gn" => resnet18_gn,
    "mobilenet_small" => mobilenet_small)

"""
Build the model of this name for samples of size `dims` (without the batch dimension), or
the one that a description says.
"""
function build_model(name, dims::Dims, outputs; hidden = (200, 200), embedding = 8, rng)
    is_described(name) && return described_model(name; rng)
    haskey(CELLS, name) && return next_token(outputs; cell = name, embedding, hidden, rng)
    name == "transformer" &&
        return transformer(outputs; longest = prod(dims), embedding, hidden, rng)
    if haskey(IMAGE_MODELS, name)
        length(dims) == 3 ||
            fail("model ", name, " takes images of size (W, H, C), and the samples have ",
                "size ", dims, ": use mlp or softmax_regression, or pass your own model")
        return IMAGE_MODELS[name](; imgsize = dims[1:2], channels = dims[3],
            classes = outputs, rng)
    end
    name == "mlp" && return mlp(prod(dims), outputs; hidden, rng)
    return softmax_regression(prod(dims), outputs; rng)
end

"""
    checkmodel(model, sample, outputs) -> output

The output of `model` for one sample, layer by layer. Throws a [`FedFluxError`](@ref) that
names the first layer that does not accept its input, or the last layer if the number of its
outputs is not `outputs` (0: any number).
"""
checkmodel(model, sample, outputs) =
    NNlib.@disallow_spawns check_layers(model, sample, outputs)  # for one sample: no tasks

function check_layers(model, sample, outputs)
    listed = model isa Chain && model.layers isa Union{Tuple,AbstractVector}
    layers = listed ? model.layers : (model,)
    x = sample
    for (i, layer) in enumerate(layers)
        before = size(x)
        x = try
            layer(x)
        catch err
            err isa InterruptException && rethrow()
            fail("layer ", i, ", ", summary_of(layer),
                ", does not accept its input, an array of size ", before,
                " (one sample): ", first_line(err))
        end
        x isa AbstractArray ||
            fail("layer ", i, ", ", summary_of(layer), ", gives a ", typeof(x),
                "; expected an array")
    end
    outputs == 0 || size(x, 1) == outputs ||
        fail("the last layer, ", summary_of(last(layers)), ", gives ", size(x, 1),
            " outputs; the data and the loss need ", outputs)
    return x
end

"""
    check_targets(loss, output, name, y)

Check that the targets `y`, named `name` in errors, have the shape that `loss` compares with
the model's `output` for one sample. Any other loss than FedFlux's takes what it likes.
"""
function check_targets(loss::Loss, output, name, y)
    has = size(y)[1:(end-1)]
    outputs = size(output)[1:(end-1)]
    fits, expected =
        loss isa CrossEntropy ? (has == outputs[2:end], outputs[2:end]) :
        (prod(has) == prod(outputs), outputs)
    soft = loss isa CrossEntropy && eltype(y) <: AbstractFloat && has == outputs
    fits || soft ||
        fail(name, " holds targets of size ", has, ", an array of size ", size(y),
            ", and the model gives outputs of size ", outputs, " for a sample; expected ",
            expected == () ? "one label per sample" : "targets of size $expected")
    check_class_weights(loss, size(output, 1))
end
check_targets(loss, output, name, y) = nothing

"Check that the model's Embedding holds the tokens `x`, from 1, named `name` in errors."
function check_vocabulary(model, name, x)
    n = size(first_layer(model).weight, 2)
    eltype(x) <: Integer && eltype(x) !== Bool || return    # one-hot; see checkmodel
    bad = findfirst(!in(1:n), x)
    bad === nothing ||
        fail(name, " contains ", x[bad], ", and the model's Embedding holds ", n,
            " tokens; expected whole numbers from 1 to ", n)
end

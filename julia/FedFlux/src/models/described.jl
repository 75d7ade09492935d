# A model from its description: a list of layers in JSON, which says what to build and never
# what to run. Python makes one of a PyTorch module. Sizes and axes are in NumPy's order.

"A description's length in bytes, its number of layers and how deep its sums may go."
const MOST_OF_DESCRIPTION = (bytes = 2^20, layers = 10_000, depth = 20)

"Whether the text of the option `model` is a description rather than a name."
is_described(model) = model isa AbstractString && startswith(lstrip(model), '[')

"Whether the option `model` is the name of a model that FedFlux has."
is_name(model) = model isa AbstractString && !is_described(model)

# Activations without a parameter; a layer of weights may name one of the first as its own.
const ACTIVATIONS = Dict{String,Any}("identity" => identity, "relu" => relu,
    "tanh" => tanh, "sigmoid" => sigmoid)
const MORE_ACTIVATIONS = Dict{String,Any}("gelu" => gelu_exact, "gelu_tanh" => gelu,
    "silu" => swish, "softplus" => softplus, "softsign" => softsign, "relu6" => relu6,
    "hardsigmoid" => hardsigmoid, "hardtanh" => hardtanh, "logsigmoid" => logsigmoid,
    "selu" => NNlib.selu, "mish" => NNlib.mish, "hardswish" => NNlib.hardswish)
const VALUED_ACTIVATIONS =
    Dict{String,Any}("leaky_relu" => leakyrelu, "elu" => elu, "celu" => NNlib.celu)

is_whole(v, least) = v isa Integer && !(v isa Bool) && least <= v <= MOST_PARAMETERS
are_whole(v, least) =
    v isa AbstractVector && 1 <= length(v) <= 3 && all(e -> is_whole(e, least), v)
is_number(v) = v isa Real && !(v isa Bool) && isfinite(v)

"What an entry of a layer must be: a check, and the words for it."
const ENTRY_KINDS = Dict{Symbol,Tuple{Any,String}}(
    :size => (v -> is_whole(v, 1), "a whole number from 1"),
    :sizes => (v -> are_whole(v, 1), "one to three whole numbers from 1"),
    :pads => (v -> are_whole(v, 0), "one to three whole numbers from 0"),
    :flag => (v -> v isa Bool, "true or false"),
    :number => (is_number, "a number"),
    :positive => (v -> is_number(v) && v > 0, "a number above 0"),
    :share => (v -> is_number(v) && 0 <= v < 1, "a number from 0 to below 1"),
    :axis => (
        v -> v isa Integer && v in -4:4 && v != 0,
        "an axis of NumPy's but the samples'"
    ),
    :activation =>
        (v -> v in keys(ACTIVATIONS), join(sort!(collect(keys(ACTIVATIONS))), ", ")),
    :function => (v -> v in keys(ACTIVATIONS) || v in keys(MORE_ACTIVATIONS),
        join(sort!([keys(ACTIVATIONS)..., keys(MORE_ACTIVATIONS)...]), ", ")),
    :valued => (v -> v in keys(VALUED_ACTIVATIONS),
        join(sort!(collect(keys(VALUED_ACTIVATIONS))), ", ")))

"""
A layer that a description may name: its `entries` and their kinds, the number of parameters
that they ask for, and how to `make` it with these entries and the initial weights `init`.
"""
struct LayerKind
    entries::NamedTuple
    count::Any
    make::Any
end

no_parameters(d) = 0
julia_order(sizes) = Tuple(Int.(reverse(sizes)))
recurrent_kind(gates, make) = LayerKind((in = :size, out = :size, bias = :flag),
    d -> gates * big(d.out) * (big(d.in) + d.out + 2), make)
init_of_cells(init) = (; init_kernel = init, init_recurrent_kernel = init)
pool_kind(make) = LayerKind((kernel = :sizes, stride = :sizes, pad = :pads), no_parameters,
    (d, init) -> make(julia_order(d.kernel);
        stride = julia_order(d.stride), pad = julia_order(d.pad)))

function described_conv(d, init)
    for name in (:in, :out)
        d[name] % d.groups == 0 || fail(name, " is ", d[name], ", which groups = ",
            d.groups, " does not divide")
    end
    length(d.kernel) == length(d.stride) == length(d.pad) == length(d.dilation) ||
        fail("kernel, stride, pad and dilation differ in length")
    return Conv(julia_order(d.kernel), d.in => d.out, ACTIVATIONS[d.activation]; d.bias,
        stride = julia_order(d.stride), pad = julia_order(d.pad),
        dilation = julia_order(d.dilation), d.groups, init)
end

described_norm(d) = BatchNorm(d.channels, ACTIVATIONS[d.activation]; d.affine,
    track_stats = d.running, eps = Float32(d.eps), momentum = Float32(d.momentum))

"The layers of descriptions by name; the sum of branches is none of them."
const LAYER_KINDS = Dict{String,LayerKind}(
    "dense" => LayerKind(
        (in = :size, out = :size, bias = :flag, activation = :activation),
        d -> big(d.out) * (big(d.in) + 1),
        (d, init) -> Dense(d.in => d.out, ACTIVATIONS[d.activation]; d.bias, init)),
    "conv" => LayerKind(
        (in = :size, out = :size, kernel = :sizes, stride = :sizes, pad = :pads,
            dilation = :sizes, groups = :size, bias = :flag,
            activation = :activation),
        d -> big(d.out) * (cld(d.in, d.groups) * prod(big, d.kernel) + 1),
        described_conv),
    "max_pool" => pool_kind(MaxPool),
    "mean_pool" => pool_kind(MeanPool),
    "global_max_pool" => LayerKind((;), no_parameters, (d, init) -> GlobalMaxPool()),
    "global_mean_pool" => LayerKind((;), no_parameters, (d, init) -> GlobalMeanPool()),
    "adaptive_max_pool" => LayerKind((out = :sizes,), no_parameters,
        (d, init) -> AdaptiveMaxPool(julia_order(d.out))),
    "adaptive_mean_pool" => LayerKind((out = :sizes,), no_parameters,
        (d, init) -> AdaptiveMeanPool(julia_order(d.out))),
    "batch_norm" => LayerKind(
        (channels = :size, eps = :positive, momentum = :number, affine = :flag,
            running = :flag, activation = :activation),
        d -> 4 * big(d.channels), (d, init) -> described_norm(d)),
    "layer_norm" => LayerKind((size = :sizes, eps = :positive, affine = :flag),
        d -> 2 * prod(big, d.size),
        (d, init) ->
            LayerNorm(julia_order(d.size); d.affine, eps = sqrt(Float32(d.eps)))),
    "group_norm" => LayerKind(
        (channels = :size, groups = :size, eps = :positive, affine = :flag),
        d -> 2 * big(d.channels),
        (d, init) ->
            Flux.GroupNorm(d.channels, d.groups; d.affine, eps = Float32(d.eps))),
    "dropout" =>
        LayerKind((p = :share,), no_parameters, (d, init) -> Dropout(Float32(d.p))),
    "embedding" => LayerKind((vocabulary = :size, size = :size),
        d -> big(d.vocabulary) * d.size,
        (d, init) -> Embedding(d.vocabulary => d.size; init)),
    "rnn" =>
        LayerKind((in = :size, out = :size, bias = :flag, activation = :activation),
            d -> big(d.out) * (big(d.in) + d.out + 1),
            (d, init) ->
                RNN(
                    d.in => d.out,
                    ACTIVATIONS[d.activation];
                    d.bias,
                    init_of_cells(init)...
                )),
    "lstm" => recurrent_kind(
        4,
        (d, init) -> LSTM(d.in => d.out; d.bias, init_of_cells(init)...)
    ),
    "gru" => recurrent_kind(
        3,
        (d, init) -> GRU(d.in => d.out; d.bias, init_of_cells(init)...)
    ),
    "two_bias_gru" => LayerKind((in = :size, out = :size),
        d -> 3 * big(d.out) * (big(d.in) + d.out + 2),
        (d, init) -> two_bias_gru(d.in => d.out; init)),
    "flatten" => LayerKind((;), no_parameters, (d, init) -> Flux.flatten),
    "last_step" => LayerKind((;), no_parameters, (d, init) -> last_step),
    "mean_of_steps" => LayerKind((;), no_parameters, (d, init) -> mean_of_steps),
    "as_sequence" => LayerKind((;), no_parameters, (d, init) -> as_sequence),
    "activation" => LayerKind((name = :function,), no_parameters,
        (d, init) -> Base.Broadcast.BroadcastFunction(
            get(() -> MORE_ACTIVATIONS[d.name], ACTIVATIONS, d.name))),
    "valued_activation" => LayerKind((name = :valued, value = :number), no_parameters,
        (d, init) -> WithValue(VALUED_ACTIVATIONS[d.name], Float32(d.value))),
    "softmax" => LayerKind((axis = :axis,), no_parameters,
        (d, init) -> AlongAxis(NNlib.softmax, d.axis)),
    "log_softmax" => LayerKind((axis = :axis,), no_parameters,
        (d, init) -> AlongAxis(NNlib.logsoftmax, d.axis)))

"""
    described_model(text; rng = Random.default_rng()) -> Chain

The Flux model that a description in JSON says: a list of layers, each an object with the
name of its kind as `layer` and the entries of [`LAYER_KINDS`](@ref), or a `sum` with its
`branches`, lists of layers whose outputs are added; an empty one passes its input on.
Weights are drawn from `rng`, Glorot-uniform; biases are zero.

Throws a [`FedFluxError`](@ref) that names the layer, before it makes a model of more than
$MOST_PARAMETERS parameters.

```julia
text = "[{\\"layer\\": \\"flatten\\"}]"
FedFlux.described_model(text)      # Chain(flatten)
```
"""
function described_model(text::AbstractString; rng = Random.default_rng())
    layers = read_description(text)
    check_described(layers)
    return described_chain(layers, Flux.glorot_uniform(rng))
end

function read_description(text)
    ncodeunits(text) <= MOST_OF_DESCRIPTION.bytes ||
        fail("model: the description has ", ncodeunits(text), " bytes; expected at most ",
            MOST_OF_DESCRIPTION.bytes)
    layers = try
        JSON.parse(text)
    catch err
        err isa InterruptException && rethrow()
        fail("model: the description is no JSON: ", first_line(err))
    end
    layers isa AbstractVector && !isempty(layers) ||
        fail("model: expected a name or a description, a JSON list of layers")
    return layers
end

"Check all layers, and how many parameters they have together."
function check_described(layers)
    total = Ref(big(0))
    count_layers!(total, Ref(0), layers, "", 0)
    total[] <= MOST_PARAMETERS || fail("model: the description asks for ", total[],
        " parameters; expected at most ", MOST_PARAMETERS)
end

function count_layers!(total, seen, layers, path, depth)
    depth <= MOST_OF_DESCRIPTION.depth || fail("model: sums within sums, ",
        MOST_OF_DESCRIPTION.depth, " deep; expected fewer")
    layers isa AbstractVector || fail("model: layer ", path, ": expected a list of layers")
    for (i, layer) in enumerate(layers)
        name = string(path, i)
        (seen[] += 1) <= MOST_OF_DESCRIPTION.layers ||
            fail("model: more than ", MOST_OF_DESCRIPTION.layers, " layers")
        layer isa AbstractDict || fail("model: layer ", name, ": expected an object")
        if get(layer, "layer", nothing) == "sum"
            for (j, branch) in enumerate(branches_of(layer, name))
                count_layers!(total, seen, branch, "$name.$j.", depth + 1)
            end
        else
            kind, entries = checked_layer(layer, name)
            total[] += kind.count(entries)
        end
    end
end

function branches_of(layer, name)
    given = get(layer, "branches", nothing)
    given isa AbstractVector && 2 <= length(given) <= 100 && length(layer) == 2 ||
        fail("model: layer ", name, ", sum: expected from 2 to 100 branches, lists of ",
            "layers")
    return given
end

"The kind of a layer and its entries as a NamedTuple."
function checked_layer(layer, name)
    kind = get(LAYER_KINDS, get(layer, "layer", nothing), nothing)
    kind === nothing && fail("model: layer ", name, " is ",
        repr(get(layer, "layer", nothing)), "; expected one of ",
        join(sort!(collect(keys(LAYER_KINDS))), ", "), ", sum")
    expected = string.(keys(kind.entries))
    given = [string(k) for k in keys(layer) if k != "layer"]
    where_it_is = "model: layer $name, $(layer["layer"]): "
    Set(given) == Set(expected) ||
        fail(where_it_is, "expected ", join(expected, ", "), "; got ", join(given, ", "))
    for (entry, type) in pairs(kind.entries)
        fits, words = ENTRY_KINDS[type]
        fits(layer[string(entry)]) || fail(where_it_is, entry, " is ",
            first(repr(layer[string(entry)]), 80), "; expected ", words)
    end
    return kind, NamedTuple(n => layer[string(n)] for n in keys(kind.entries))
end

# In a vector: what runs such a chain is compiled once, and not for each list of layers.
described_chain(layers, init, path = "") =
    Chain(Any[described_layer(l, init, "$path$i") for (i, l) in enumerate(layers)])

function described_layer(layer, init, name)
    layer["layer"] == "sum" && return Flux.Parallel(+,
        (
            described_branch(b, init, "$name.$j.") for (j, b) in
            enumerate(layer["branches"])
        )...)
    kind, entries = checked_layer(layer, name)
    try
        return kind.make(entries, init)
    catch err
        err isa InterruptException && rethrow()
        fail("model: layer ", name, ", ", layer["layer"], ": ",
            err isa FedFluxError ? err.message : first_line(err))
    end
end

described_branch(layers, init, path) =
    isempty(layers) ? identity : described_chain(layers, init, path)

const AdaptivePool = Union{AdaptiveMaxPool,AdaptiveMeanPool}

"""
Throw unless each adaptive pool gets an input that its output divides: the parts of other
inputs overlap in PyTorch, and not in Flux.
"""
function check_even_pools(model, sample)
    any(l -> l isa AdaptivePool, Flux.modules(model)) || return
    probe(l) = l
    function probe(l::AdaptivePool)
        return function (x)
            in_size, out = size(x)[1:length(l.out)], l.out
            all(in_size .% out .== 0) ||
                fail("model: an adaptive pool to ", join(reverse(out), "×"), " gets an ",
                    "input of ", join(reverse(in_size), "×"), "; expected a size that its ",
                    "output divides, since PyTorch's parts overlap otherwise")
            return l(x)
        end
    end
    exclude(l) = l isa AdaptivePool || Functors.isleaf(l)
    NNlib.@disallow_spawns Functors.fmap(probe, model; exclude)(sample)
    return nothing
end

"Whether the first layer of the description is an embedding."
function described_tokens(text)
    layer = first(read_description(text))
    return layer isa AbstractDict && get(layer, "layer", nothing) == "embedding"
end

# The fast engine: common layers over memory that is laid out once.

using Flux: BatchNorm, Dropout, Embedding, GlobalMaxPool, GlobalMeanPool, GRU, LayerNorm, LSTM, MeanPool, RNN
using Flux.NNlib: elu, gelu, hardsigmoid, hardtanh, leakyrelu, logsigmoid, relu6, sigmoid, sigmoid_fast, softplus, softsign,
                  swish, tanh_fast
using MLUtils: MLUtils
using SIMD: Vec, shufflevector, vifelse, vload, vstore

include("simd.jl")
include("buffer.jl")
include("activations.jl")
include("shape.jl")
include("order.jl")
include("plan.jl")
include("tiles.jl")
include("transpose.jl")
include("sweep.jl")
include("taps.jl")
include("conv.jl")
include("product.jl")
include("dense.jl")
include("pool.jl")
include("elementwise.jl")
include("dropout.jl")
include("norm.jl")
include("layernorm.jl")
include("embedding.jl")
include("recurrent.jl")
include("inputs.jl")
include("cells.jl")
include("head.jl")
include("stage.jl")

"""
    LayerEngine(model, loss, dims, maxbatch; cpu = CPU())

The engine for a Flux model of common layers, with a [`Loss`](@ref FedFlux.Loss), for samples of size `dims` and batches up to
`maxbatch`. It lays out all memory at once and allocates nothing in a step. Throws [`Unsupported`](@ref), naming the layer, for
what it doesn't take. The model is only read: parameters come with each call. `cpu` shapes the register tiles.

```julia
e = LayerEngine(Chain(Dense(4 => 2)), CrossEntropy(), (4,), 8)
w = zeros(Float32, FedFlux.nparams(e)); g = similar(w)
valgrad!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8))
```
"""
struct LayerEngine{O<:Tuple,L<:Loss,N} <: Engine
    operations::O
    loss::L
    kind::Symbol                  # of the samples
    input::Buffer
    output::Buffer
    gradient::Buffer              # of the output
    nparams::Int
    maxbatch::Int
    arena::Vector{Float32}        # workspace: every call may find anything in it
    staged::Vector{Float32}       # the batch: input, zeros around it, targets
    targets::Int                  # where the targets begin
    predicted::Array{Float32,N}
    stats::Vector{Float32}        # running statistics, in the order of `statistics`
    orders::Vector{Pair{UnitRange{Int},Order}}
end

"Floats that tiles may read beyond the last value."
const SLACK = 64

function LayerEngine(model, loss, dims, maxbatch; cpu = CPU())
    loss isa Loss || unsupported("the loss is $loss; it takes CrossEntropy(), BinaryCrossEntropy() and MSE()")
    maxbatch >= 1 || throw(ArgumentError("maxbatch is $maxbatch; expected a positive number"))
    (; operations, builder, input, output, gradient, shape, kind) = plan(model, Dims(dims), maxbatch, cpu)
    shape.kind === :image && unsupported("the model ends in images: end it with flatten")
    shape.flat === nothing || unsupported("the model ends with a flatten: end it with a Dense layer")
    staged = cld(image(input) * maxbatch + SLACK, 16) * 16
    return LayerEngine(operations, loss, kind, input, output, gradient, sum(length, Optimisers.trainables(model)), Int(maxbatch),
                       zeros(Float32, builder.workspace + SLACK), zeros(Float32, staged + ntargets(loss, output) * maxbatch), staged,
                       zeros(Float32, (shape.kind === :sequence ? (shape.C, shape.W) : (shape.C,))..., maxbatch),
                       gather!(zeros(Float32, sum(length, statistics(model); init = 0)), statistics(model)), builder.orders)
end

nparams(e::LayerEngine) = e.nparams
maxbatch(e::LayerEngine) = e.maxbatch
nstats(e::LayerEngine) = length(e.stats)
stats!(s, e::LayerEngine) = copyto!(s, e.stats)
setstats!(e::LayerEngine, s) = copyto!(e.stats, s)
reseed!(e::LayerEngine, rng) = foreach(o -> reseed!(o, rng), e.operations)

to_engine!(w, e::LayerEngine, θ) = reorder!(to_engine!, w, e, θ)
to_model!(θ, e::LayerEngine, w) = reorder!(to_model!, θ, e, w)

function reorder!(change!, to, e::LayerEngine, from)
    copyto!(to, from)
    for (range, order) in e.orders
        change!(view(to, range), order, from[range])
    end
    return to
end

"""
Stage the samples `idx` of `x` and `y`. What is returned stands for them in the engine's calls, until the next batch is staged.
"""
function batch(e::LayerEngine, x, y, idx)
    stage!(e, x, y, idx)
    return Staged(length(idx)), Staged(length(idx))
end

function stage!(e::LayerEngine, x, y, idx)
    n, size = length(idx), ntargets(e.loss, e.output)
    1 <= n <= e.maxbatch || throw(ArgumentError("a batch of $n samples; this engine takes 1 to $(e.maxbatch)"))
    check_data(e.input, x, y, size, idx)
    GC.@preserve e begin
        to = pointer(e.staged)
        stage_input!(to, e.input, e.kind, x, idx)
        e.kind in (:token, :tokens) && check_tokens(Ptr{Int32}(to), n * features(e.input), vocabulary(first(e.operations)))
        y === nothing || stage_targets!(at(to, e.targets), e.loss, y, idx, size, e.output.C)
    end
    return n
end

stage!(e::LayerEngine, x::AbstractArray, y) = stage!(e, x, y, 1:numobs(x))
stage!(e::LayerEngine, x::Staged, y) = x.n

function valgrad!(e::LayerEngine, g, w, x, y)
    n = stage!(e, x, y)
    GC.@preserve e w g begin
        p = Pass(pointer(e.arena), pointer(e.staged), flat(e, w), flat(e, g), pointer(e.stats), n, true)
        forward_all!(e.operations, p)
        loss = head!(e.loss, p, e.output, e.gradient, at(p.staged, e.targets))
        backward_all!(e.operations, p)
    end
    return loss
end

function predict(e::LayerEngine, w, x)
    n = stage!(e, x, nothing)
    GC.@preserve e w begin
        p = Pass(pointer(e.arena), pointer(e.staged), flat(e, w), C_NULL, pointer(e.stats), n, false)
        forward_all!(e.operations, p)
        unsafe_copyto!(pointer(e.predicted), address(p, e.output), features(e.output) * n)
    end
    return first_samples(e.predicted, n)
end

first_samples(a::Matrix, n) = view(a, :, 1:n)
first_samples(a::Array{Float32,3}, n) = view(a, :, :, 1:n)

"The address of a flat vector of all parameters."
function flat(e::LayerEngine, v::StridedVector{Float32})
    length(v) == e.nparams && stride(v, 1) == 1 ||
        throw(DimensionMismatch("a vector of $(length(v)) parameters; the model has $(e.nparams)"))
    return pointer(v)
end

@inline forward_all!(::Tuple{}, p) = nothing
@inline forward_all!(o::Tuple, p) = (forward!(first(o), p, 0, p.n - 1); forward_all!(Base.tail(o), p))
@inline backward_all!(::Tuple{}, p) = nothing
@inline backward_all!(o::Tuple, p) = (backward_all!(Base.tail(o), p); backward!(first(o), p, 0, p.n - 1))

"Fill the workspace with `byte`: results must not depend on what is in it."
poison!(e::LayerEngine, byte::UInt8) = (fill!(reinterpret(UInt8, e.arena), byte); e)

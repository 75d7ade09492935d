# The fast engine: common layers, over memory that is laid out once.

include("simd.jl")
include("buffer.jl")
include("activations.jl")
include("shape.jl")
include("order.jl")
include("padding.jl")
include("builder.jl")
include("microkernel.jl")
include("transpose.jl")
include("macrokernel.jl")
include("offsets.jl")
include("outer.jl")
include("conv.jl")
include("gemm.jl")
include("dense.jl")
include("pooling.jl")
include("depthwise.jl")
include("dropout.jl")
include("elementwise.jl")
include("batchnorm.jl")
include("layernorm.jl")
include("groupnorm.jl")
include("embedding.jl")
include("recurrent.jl")
include("projections.jl")
include("cells.jl")
include("steps.jl")
include("loss.jl")
include("staging.jl")
include("lay_out.jl")
include("branches.jl")
include("attention.jl")
include("plan.jl")
include("examples.jl")
include("positions.jl")

"""
    LayerEngine(model, loss, dims, maxbatch; cpu = CPU())

The fast engine, for a Flux model of common layers and a [`Loss`](@ref FedFlux.Loss). It
takes samples of size `dims` in batches up to `maxbatch`, lays out all memory at once and
allocates nothing in a step. It only reads the model: parameters come with each call. `cpu`
sets the size of the register tiles.

Throws [`Unsupported`](@ref), naming the layer, for a model or a loss that it doesn't
support.

```julia
e = LayerEngine(Chain(Dense(4 => 2)), CrossEntropy(), (4,), 8)
w = zeros(Float32, FedFlux.nparams(e)); g = similar(w)
valgrad!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8))
```
"""
struct LayerEngine{N} <: Engine
    operations::Vector{Operation}
    pass::Base.RefValue{Pass}     # of the call in progress
    loss::LayerLoss
    kind::Symbol                  # of the samples; see `Shape`
    vocabulary::Int               # of a first layer that takes tokens, else 0
    input::Buffer
    output::Buffer
    gradient::Buffer              # of the output
    nparams::Int
    maxbatch::Int
    arena::Vector{Float32}        # workspace; nothing in it outlives a call
    examples::Vector{Float32}     # the same for clipped gradients; empty until the first
    nexamples::Int                # its length then
    squares::Vector{Float64}      # of the norms of the batch's gradients
    factors::Vector{Float32}      # of the batch's clipped gradients
    staged::Vector{Float32}       # staging area: the padded input batch, then the targets
    targets::Int                  # offset of the targets in the staging area
    soft::Base.RefValue{Bool}     # whether the staged targets are soft labels
    predicted::Array{Float32,N}
    nstats::Int                   # running statistics that change in training
    stats::Vector{Float32}        # those, in the order of `statistics`, then the others
    orders::Vector{Pair{UnitRange{Int},Order}}
    padding::Float32              # what fills sequences up
    lengths::Vector{Int}          # of the batch's sequences; empty where they are all alike
end

"Floats that tiles may read beyond the last value."
const SLACK = 64

function LayerEngine(model, loss, dims, maxbatch; cpu = CPU())
    losses = "CrossEntropy(), BinaryCrossEntropy(), MSE() or Huber()"
    loss isa LayerLoss || unsupported("the loss is $loss; expected $losses")
    maxbatch >= 1 ||
        throw(ArgumentError("maxbatch is $maxbatch; expected a positive number"))
    (; operations, builder, input, output, gradient, shape, kind) =
        plan(model, Dims(dims), maxbatch, cpu)
    has_pixels(shape) &&
        unsupported("the model's output has pixels: end the model with a flatten")
    shape.flat === nothing ||
        unsupported("the model ends with a flatten: end it with a Dense layer")
    check_class_weights(loss, shape.C)      # they are read without a check of bounds
    parameters = sum(length, Optimisers.trainables(model))
    targets = cld(sample_stride(input) * maxbatch + SLACK, 16) * 16
    output_size = shape.kind === :sequence ? (shape.C, shape.W) : (shape.C,)
    nstats = sum(length, statistics(model); init = 0)
    arena = zeros(Float32, builder.workspace + SLACK)
    staged = zeros(Float32, targets + ntargets(loss, output) * maxbatch)
    predicted = zeros(Float32, output_size..., maxbatch)
    fixed = fixed_moments(model)
    stats = zeros(Float32, nstats + sum(length, fixed; init = 0))
    gather!(stats, [statistics(model); fixed])
    return LayerEngine(
        operations, Ref{Pass}(), loss, kind, vocabulary(first(operations)), input, output,
        gradient, parameters, Int(maxbatch), arena, Float32[], builder.examples + SLACK,
        zeros(maxbatch), zeros(Float32, maxbatch), staged, targets, Ref(false), predicted,
        nstats, stats, builder.orders, something(padding_of(model), 0.0f0),
        builder.lengths
    )
end

nparams(e::LayerEngine) = e.nparams
maxbatch(e::LayerEngine) = e.maxbatch
nstats(e::LayerEngine) = e.nstats
stats!(s, e::LayerEngine) = copyto!(s, 1, e.stats, 1, e.nstats)
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
    batch(e::LayerEngine, x, y, idx)

Stage the samples `idx` of `x` and `y`. Returns two placeholders, which stand for them in
the engine's calls until it stages the next batch.
"""
function batch(e::LayerEngine, x, y, idx)
    stage!(e, x, y, idx)
    return Staged(length(idx)), Staged(length(idx))
end

"Stage the samples `idx`, or all of a batch that isn't staged yet; returns their number."
function stage!(e::LayerEngine, x, y, idx)
    soft = is_soft(e, y)
    n, size = length(idx), soft ? features(e.output) : ntargets(e.loss, e.output)
    1 <= n <= e.maxbatch ||
        throw(ArgumentError("a batch of $n samples; this engine takes 1 to $(e.maxbatch)"))
    check_data(e.input, x, y, size, idx)
    soft && reserve_soft_labels!(e)
    GC.@preserve e begin
        to = pointer(e.staged)
        if e.kind in (:token, :tokens)
            tokens = Ptr{Int32}(to)
            stage_tokens!(tokens, x, idx, features(e.input), e.vocabulary)
            note_lengths!(e, tokens, n)
        else
            stage_input!(to, e.input, e.kind, x, idx)
            note_lengths!(e, to, n)
        end
        if y !== nothing
            targets = at(to, e.targets)
            soft ? stage_flat!(targets, y, idx, size) :
            stage_targets!(targets, e.loss, y, idx, size, e.output.C)
            e.soft[] = soft
        end
    end
    return n
end

note_lengths!(e, staged, n) =
    isempty(e.lengths) ||
    find_lengths!(e.lengths, staged, n, e.input.C, e.input.W, e.padding)

"Whether the targets `y` are soft labels: floats of the output's size."
is_soft(e::LayerEngine, y) = false
is_soft(e::LayerEngine{N}, y::AbstractArray{<:AbstractFloat,N}) where {N} =
    e.loss isa CrossEntropy

"Make room for a batch of soft labels, which whole numbers don't need, at the first one."
function reserve_soft_labels!(e::LayerEngine)
    needed = e.targets + features(e.output) * e.maxbatch
    length(e.staged) < needed && resize!(e.staged, needed)
    return nothing
end

"The loss of the staged batch and the gradient of its output, after a forward pass."
function output_gradient!(e::LayerEngine, p::Pass)
    loss, targets = e.loss, at(p.staged, e.targets)
    # Each call with one method, so that none is dispatched at run time.
    loss isa CrossEntropy || return loss_gradient!(loss, p, e.output, e.gradient, targets)
    e.soft[] && return soft_loss_gradient!(loss, p, e.output, e.gradient, targets)
    return loss_gradient!(loss, p, e.output, e.gradient, targets)
end

stage!(e::LayerEngine, x::AbstractArray, y) = stage!(e, x, y, 1:numobs(x))
stage!(e::LayerEngine, x::Staged, y) = x.n

function valgrad!(e::LayerEngine, g, w, x, y)
    n = stage!(e, x, y)
    GC.@preserve e w g begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp, gp = checked_pointer(e, w), checked_pointer(e, g)
        p = e.pass[] = Pass(arena, C_NULL, staged, wp, gp, stats, n, true)
        each_forward(forward!, e.operations, e.pass)
        loss = output_gradient!(e, p)
        each_backward(backward!, e.operations, e.pass)
    end
    return loss
end

function predict(e::LayerEngine, w, x)
    n = stage!(e, x, nothing)
    GC.@preserve e w begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp = checked_pointer(e, w)
        p = e.pass[] = Pass(arena, C_NULL, staged, wp, C_NULL, stats, n, false)
        each_forward(forward!, e.operations, e.pass)
        unsafe_copyto!(pointer(e.predicted), address(p, e.output), features(e.output) * n)
    end
    return first_samples(e.predicted, n)
end

first_samples(a::Matrix, n) = view(a, :, 1:n)
first_samples(a::Array{Float32,3}, n) = view(a,:,:,(1:n))

"The address of a flat vector of all parameters, after a check of its length."
function checked_pointer(e::LayerEngine, v::StridedVector{Float32})
    length(v) == e.nparams && stride(v, 1) == 1 ||
        throw(DimensionMismatch("$(length(v)) parameters; the model has $(e.nparams)"))
    return pointer(v)
end

"""
Call `f(o, pass, more...)` for each operation, in the order of the forward pass. All
arguments must be on the heap: then a call that is dispatched at run time allocates nothing.
"""
@inline function each_forward(
    f::F, operations::Vector{Operation}, pass, more::Vararg{Any,N}
) where {F,N}
    for o in operations
        f(o, pass, more...)
    end
end

"The same in the order of the backward pass."
@inline function each_backward(
    f::F, operations::Vector{Operation}, pass, more::Vararg{Any,N}
) where {F,N}
    for i = length(operations):-1:1
        f(operations[i], pass, more...)
    end
end

"Fill the workspace with `byte`, to test that results don't depend on its contents."
function fill_workspace!(e::LayerEngine, byte::UInt8)
    foreach(a -> fill!(reinterpret(UInt8, a), byte), (e.arena, e.examples))
    return e
end

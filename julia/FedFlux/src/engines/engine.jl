# The engine: the loss of a batch and its gradient. The only thing that knows layers.

"""
    Engine

Computes the loss and its gradient for one batch, over flat vectors in the engine's own
order. An engine implements

- `valgrad!(e, g, w, x, y) -> loss`: the gradient at the parameters `w` into `g`, both of
  length `nparams(e)`;
- `clipped_gradient!(e, g, w, x, y, clip) -> loss`: see [`clipped_gradient!`](@ref);
- `predict(e, w, x) -> ŷ`: the outputs in test mode;
- `batch(e, x, y, idx) -> (x, y)`: the samples `idx` of the data, in the form that its
  `valgrad!` and `predict` take;
- `nparams(e)`, and if its order isn't the model's, `to_engine!(w, e, θ)` and
  `to_model!(θ, e, w)`;
- `maxbatch(e)` if the size of a batch is bounded; `nstats(e)`, `stats!(s, e)` and
  `setstats!(e, s)` for what travels untrained, and `reseed!(e, rng)` for dropout.

One engine serves one task at a time.
"""
abstract type Engine end

nstats(::Engine) = 0
stats!(s, ::Engine) = s
setstats!(::Engine, s) = nothing
reseed!(::Engine, rng) = nothing
"The largest batch that the engine takes at once."
maxbatch(::Engine) = typemax(Int)
to_engine!(w, ::Engine, θ) = copyto!(w, θ)
to_model!(θ, ::Engine, w) = copyto!(θ, w)

batch(::Engine, x, y, idx) = (getobs(x, idx), getobs(y, idx))

"""
    valgrad!(e::Engine, g, w, x, y) -> loss

The mean loss of a batch at the parameters `w`, whose gradient is written into `g`.

- `g`, `w`: flat vectors in the engine's order, both of length `nparams(e)`.
- `x`: the samples, the last axis counts them; at most `maxbatch(e)`.
- `y`: their targets, as the loss takes them.

Throws nothing of its own: sizes were checked when the engine was made.

```julia
e = LayerEngine(Chain(Dense(4 => 2)), CrossEntropy(), (4,), 8)
w = zeros(Float32, FedFlux.nparams(e)); g = similar(w)
valgrad!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8))
```
"""
function valgrad! end

"""
    clipped_gradient!(e::Engine, g, w, x, y, clip) -> loss

The sum over the batch of each example's gradient, scaled down to the L2 norm `clip` if
it is longer, into `g`:

    g = Σᵢ gᵢ·min(1, C/‖gᵢ‖),

where `gᵢ` is the gradient at `w` of the `i`-th example's own loss, over all parameters
together. An example whose gradient or norm isn't finite counts as zero, so that one example
more or less changes `g` by at most `clip`, up to rounding. Returns the mean loss of the
batch.

Throws [`Unsupported`](@ref) for a model that mixes the examples of a batch; see
[`mixes_examples`](@ref).

Abadi et al., arXiv:1607.00133, Algorithm 1.

```julia
e = LayerEngine(Chain(Dense(4 => 2)), CrossEntropy(), (4,), 8)
w = zeros(Float32, FedFlux.nparams(e)); g = similar(w)
clipped_gradient!(e, g, w, rand(Float32, 4, 8), rand(0:1, 8), 0.5)
```
"""
function clipped_gradient! end

"The factor that clips a gradient whose norm has this square; 0 if that is not finite."
function clip_factor(square::Float64, clip)
    isfinite(square) || return 0.0f0
    norm = sqrt(square)
    return norm <= clip ? 1.0f0 : Float32(clip / norm, RoundDown)
end

const BATCHNORM_MIXES =
    "BatchNorm normalizes over the batch, so that an example's gradient depends on the " *
    "other examples: use GroupNorm or LayerNorm, or freeze it"

"""
    mixes_examples(model, freeze = String[]) -> reason or nothing

Why a single example's gradient can't be told apart in a Flux model: it has a BatchNorm, or
running statistics, which take part of the examples without a bound. `nothing` if it can,
as with a BatchNorm that `freeze` has put into test mode.
"""
function mixes_examples(model, freeze = String[])
    apart = !isempty(freeze)      # then a BatchNorm in test mode mixes nothing
    any(Flux.modules(model)) do l
        l isa Flux.BatchNorm && !(apart && l.active === false)
    end && return BATCHNORM_MIXES
    isempty(statistics(model)) && return nothing
    return "its running statistics are taken from the examples without a bound: use " *
           "GroupNorm or LayerNorm"
end

"Thrown by an engine that does not support a model: `reason` names the layer, loss or data."
struct Unsupported <: Exception
    reason::String
end

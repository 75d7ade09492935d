# The engine: the loss of a batch and its gradient. The only thing that knows layers.

"""
    Engine

Computes the loss and its gradient for one batch, over flat vectors in the engine's own
order. An engine implements

- `valgrad!(e, g, w, x, y) -> loss`: the gradient at the parameters `w` into `g`, both of
  length `nparams(e)`;
- `predict(e, w, x) -> ŷ`: the outputs in test mode;
- `batch(e, x, y, idx) -> (x, y)`: the samples `idx` of the data, in the form that its
  `valgrad!` and `predict` take;
- `nparams(e)`, and where its order isn't the model's, `to_engine!(w, e, θ)` and
  `to_model!(θ, e, w)`;
- `maxbatch(e)` where the size of a batch is bounded; `nstats(e)`, `stats!(s, e)` and
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

"Thrown by an engine that does not support a model: `reason` names the layer, loss or data."
struct Unsupported <: Exception
    reason::String
end

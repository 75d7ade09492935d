# FedLC: Zhang et al., Federated Learning with Label Distribution Skew via Logits
# Calibration, arXiv:2209.00189, equation 9.

"""
    FedLC(; tau = 1)

Calibrated logits, for clients that have many samples of some classes and few of others:
clients train on the cross-entropy of

    z_c − τ n_c^(−1/4)

with n_c the client's number of samples of class c, so that a class with few samples has to
win by a larger margin. The calibration is in training only. A class that a client lacks
counts as if it had one sample (the formula has no value for none). `tau = 0` is FedAvg. The
right class stays in the softmax's denominator. Throws a [`FedFluxError`](@ref) for a model
that doesn't end with a linear Dense layer with a bias.

Zhang et al., arXiv:2209.00189, equation 9.

```julia
Federated(softmax_regression(4, 2); rules = (FedLC(tau = 0.5),))
```
"""
struct FedLC <: LogitShift
    tau::Float32
    output::OutputLayer
end
FedLC(; tau = 1) = FedLC(tau, OutputLayer())

prepare(r::FedLC, layout, training) = FedLC(r.tau, output_layer("FedLC", layout))

function receive!(r::FedLC, s, m, ctx, own)
    offsets = Float32.(-r.tau .* counts_of(r.output, own) .^ (-1 / 4))
    shift!(r.output, m.w, offsets, 1)
    return offsets
end

function client!(r::FedLC, s, u, ctx)
    unshift!(r.output, s.private, ctx)
    return nothing, u
end

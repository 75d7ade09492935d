"""
FedFlux: federated learning on Flux. Clients train on their own data, a server averages what they send, round after round.

- `FedFlux.run(; options...)`: a whole run from its options, as Python's `fedflux.run`.
- `Federated`, `State`, `Clients`, `round!`, `fit!`: the same by hand, with any Flux model.
- `train_model!`, `aggregate_models`, `update_model!`: the steps of the case study, model by model.
"""
module FedFlux

using CRC32c: crc32c
using Flux: Flux, Chain, Conv, Dense, MaxPool, relu
using Functors: Functors
using JSON: JSON
using LinearAlgebra: BLAS, axpy!, dot, norm, rmul!
using MLUtils: getobs, numobs
using NPZ: NPZ
using Optimisers: Optimisers
using PrecompileTools: @compile_workload, @setup_workload
using Printf: @printf
using Random: Random, AbstractRNG, shuffle!
using SHA: sha256
using Statistics: median!, quantile
using TOML: TOML
using Zygote: Zygote

export FedFluxError, Stream
export case_study_cnn, lenet, mcmahan_cnn, mlp, next_token, softmax_regression
export CrossEntropy, BinaryCrossEntropy, MSE
export train_model!, aggregate_models, update_model!, update_model
export Engine, ZygoteEngine, LayerEngine, valgrad!, predict
export Rule, Aggregator, Mean, Median, TrimmedMean, Krum, MultiKrum, Bulyan, GeometricMedian, NormClipping, CenteredClipping, FLTrust
export combine_updates, Attackers, Faults, Checkpoints
export Compressor, encode, decode, TopK, RandK, Quantize, QSGD, SignSGD, Ternary, PowerSGD, CountSketch, Download, Prune, PruneChannels, shrink
export FedProx, Scaffold, FedNova, FedDyn, Ditto, FedPer, FedRep, FedBN, FedSGD, QFFL, AFL, FedBuff
export FedAdagrad, FedAdam, FedYogi
export StepDecay, ExponentialDecay, CosineDecay, Warmup
export Dataset, Clients, describe, Federated, State, round!, fit!, Record

include("errors.jl")
include("stream.jl")
include("draws.jl")
include("options.jl")
include("specs.jl")
include("flat.jl")
include("loss.jl")
include("models.jl")

include("engine.jl")            # idea 1: the loss and its gradient
include("fast/engine.jl")
include("rule.jl")              # idea 2: one paper's idea, on both sides of the wire

include("compress/wire.jl")     # rules that send less
include("compress/bytes.jl")
include("compress/indices.jl")
include("compress/select.jl")
include("compress/compressor.jl")
include("compress/sparse.jl")
include("compress/quantize.jl")
include("compress/sign.jl")
include("compress/lowrank.jl")
include("compress/sketch.jl")
include("compress/download.jl")
include("compress/prune.jl")
include("compress/links.jl")
include("compress/channels.jl")
include("compress/shrink.jl")

include("aggregate/mean.jl")    # idea 3: many updates into one
include("aggregate/stack.jl")
include("aggregate/sorting.jl")
include("aggregate/coordinates.jl")
include("aggregate/distances.jl")
include("aggregate/krum.jl")
include("aggregate/geometric.jl")
include("aggregate/clipping.jl")
include("aggregate/fltrust.jl")

include("data/clients.jl")
include("data/partition.jl")
include("data/skew.jl")
include("data/describe.jl")
include("data/sources.jl")
include("data/text.jl")
include("data/normalise.jl")
include("data/augment.jl")
include("aggregate/combine.jl")
include("sample.jl")

include("schedule.jl")
include("local.jl")
include("parallel.jl")
include("faults.jl")
include("attacks.jl")
include("state.jl")
include("door.jl")
include("trainer.jl")

include("algorithms/fedprox.jl")    # rules and server steps of the literature, one paper a file
include("algorithms/scaffold.jl")
include("algorithms/fednova.jl")
include("algorithms/feddyn.jl")
include("algorithms/ditto.jl")
include("algorithms/privatearrays.jl")
include("algorithms/fedper.jl")
include("algorithms/fedrep.jl")
include("algorithms/fedbn.jl")
include("algorithms/fedsgd.jl")
include("algorithms/qffl.jl")
include("algorithms/afl.jl")
include("algorithms/fedbuff.jl")
include("algorithms/fedopt.jl")

include("history.jl")
include("evaluate.jl")
include("checkpoint/durable.jl")
include("checkpoint/safetensors.jl")
include("checkpoint/pack.jl")
include("checkpoint/checkpoint.jl")
include("personal.jl")
include("rounds.jl")            # idea 4: the round
include("fit.jl")

include("verbs.jl")
include("checkpoint/resume.jl")
include("run.jl")
include("python.jl")
include("precompile.jl")

end

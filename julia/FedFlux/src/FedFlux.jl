"""
FedFlux: federated learning on Flux. Clients train on their own data, a server averages what
they send, round after round.

- `FedFlux.run(; options...)`: a whole run from its options, as Python's `fedflux.run`.
- `Federated`, `State`, `Clients`, `round!`, `fit!`: the same by hand, with any Flux model.
- `train_model!`, `aggregate_models`, `update_model!`: the case study's steps, on models.
"""
module FedFlux

# Fewer methods to load at each start: of a call with several candidates none is inferred.
Base.Experimental.@max_methods 1

using CRC32c: crc32c
using Distributed: Distributed, AbstractWorkerPool, ClusterManager, LocalManager
using Distributed: ProcessExitedException, RemoteException, SSHManager, WorkerConfig
using Distributed: addprocs, remote_do, remotecall_fetch, rmprocs
using Flux: Flux, AdaptiveMaxPool, AdaptiveMeanPool, BatchNorm, Chain, Conv, Dense, Dropout
using Flux: Embedding, GRU, GlobalMaxPool, GlobalMeanPool, GroupNorm, InstanceNorm, LSTM
using Flux: LayerNorm, MaxPool, MeanPool, NNlib, Parallel, RNN, SkipConnection, relu
using Flux.NNlib: elu, gelu, hardsigmoid, hardtanh, leakyrelu, logsigmoid, relu6, sigmoid
using Flux.NNlib: sigmoid_fast, softplus, softsign, swish, tanh_fast
using Functors: Functors
using JSON: JSON
using LinearAlgebra: BLAS, axpy!, dot, norm, rmul!
using Logging: Logging
using LogExpFunctions: log1pexp, logaddexp, logexpm1
using libsodium_jll: libsodium
using MLUtils: MLUtils, getobs, numobs
using Optimisers: Optimisers
using PrecompileTools: @compile_workload, @setup_workload
using Printf: @printf
using Random: Random, AbstractRNG, Xoshiro, randstring, shuffle!
using Serialization: AbstractSerializer, Serialization, deserialize, serialize
using SHA: sha256
using SIMD: Vec, shufflevector, vifelse, vload, vstore
using SpecialFunctions: SpecialFunctions, beta_inc, beta_inc_inv, erfc, erfcinv, erfcx
using SpecialFunctions: logabsgamma, logerfc
using Statistics: mean, median!, quantile, std
using TOML: TOML
using Zygote: Zygote

include("errors.jl")
export FedFluxError
include("texts.jl")

# Options: declared once in TOML, checked, and the objects that they name.
include("options/hints.jl")
include("options/check.jl")
include("options/specs.jl")
include("options/options.jl")
include("options/effects.jl")

# Random numbers from (seed, purpose, round, client).
include("random/stream.jl")
include("random/distributions.jl")
include("random/secure_random.jl")
include("random/gaussian.jl")
export Stream, SecureRandom

# Privacy: what noise costs in ε, by Rényi divergences and by privacy-loss distributions.
include("privacy/rdp.jl")
include("privacy/fft.jl")
include("privacy/pld.jl")
include("privacy/pld_composition.jl")
include("privacy/accountant.jl")
include("privacy/calibration.jl")
include("privacy/distributed_noise.jl")
include("privacy/tree.jl")
include("privacy/audit_bounds.jl")
export RDPAccountant, PLDAccountant, compose!, epsilon, noise_multiplier

# Models, losses, and a model's parameters as one flat vector.
include("models/names.jl")
include("models/flat.jl")
include("models/untrained.jl")
include("models/initial.jl")
include("models/losses.jl")
include("models/sizes.jl")
include("models/models.jl")
export case_study_cnn, lenet, mcmahan_cnn, mlp, next_token, softmax_regression
export CrossEntropy, BinaryCrossEntropy, MSE, Huber, mobilenet_small, resnet18_gn, resnet8
export transformer

# Engines: the loss of a batch and its gradient.
include("engines/engine.jl")
include("engines/zygote.jl")
include("engines/ends.jl")
include("engines/fast/layer_engine.jl")
include("engines/fast/ends.jl")
include("engines/fast/clipped.jl")
include("engines/sumloss.jl")
include("engines/frozen.jl")
include("engines/choice.jl")
export Engine, ZygoteEngine, LayerEngine, valgrad!, clipped_gradient!, predict

# Data: sources, clients, partitions, text, normalization, augmentation.
include("data/clients.jl")
include("data/mapped.jl")
include("data/partition.jl")
include("data/skew.jl")
include("data/describe.jl")
include("data/partitions/named_partitions.jl")
include("data/sources.jl")
include("data/labels.jl")
include("data/advice.jl")
include("data/named/named_data.jl")
include("data/normalise.jl")
include("data/mapped_values.jl")
include("data/contract.jl")
include("data/client_test_data.jl")
include("data/validation.jl")
include("data/augment.jl")
export Dataset, Clients, describe, IID, Dirichlet, Shards, LabelSkew, QuantitySkew, ByOwner
export FeatureNoise, Pathological, Sizes, InnerDirichlet, Similarity, RedrawnDirichlet
export Mapped

# Updates: what a client sends, and what it costs on the wire.
include("updates/update.jl")
include("updates/wire.jl")
include("updates/clip.jl")
export Update

# Rules: a paper's idea on both sides of the wire; algorithms, pruning and compression.
include("rules/rule.jl")
include("rules/chain.jl")
include("rules/optimizers.jl")
include("rules/client_optimizers.jl")
include("rules/algorithms/fedprox.jl")
include("rules/algorithms/scaffold.jl")
include("rules/algorithms/fednova.jl")
include("rules/algorithms/feddyn.jl")
include("rules/algorithms/ditto.jl")
include("rules/algorithms/privatearrays.jl")
include("rules/algorithms/fedper.jl")
include("rules/algorithms/fedrep.jl")
include("rules/algorithms/fedbn.jl")
include("rules/algorithms/fedsgd.jl")
include("rules/algorithms/qffl.jl")
include("rules/algorithms/afl.jl")
include("rules/algorithms/fedbuff.jl")
include("rules/algorithms/fedopt.jl")
include("rules/methods.jl")
export Rule, FedProx, Scaffold, FedNova, FedDyn, Ditto, FedPer, FedRep, FedBN, FedSGD, QFFL
export AFL, FedBuff, FedAdagrad, FedAdam, FedYogi
export LGFedAvg, FedBABU, FedLC, FedRoD, FedRS, FedExP, FedCM, FedDC, FedADMM, TERM, FedSAM
export PerFedAvg, PFedMe, APFL, MimeLite, Mime, FedNTD, MOON, FedProto, FedALA, Scaffnew
export FedAsync, EMA, FedDisco, IFCA

include("rules/privacy/mechanism.jl")
include("rules/privacy/clientdp.jl")
include("rules/privacy/dpftrl.jl")
include("rules/privacy/localdp.jl")
include("rules/privacy/dpsgd.jl")
export ClientDP, DPFTRL, LocalDP, DPSGD

include("rules/compression.jl")
export Compressor, encode, decode, TopK, RandK, Quantize, QSGD, SignSGD, Ternary, PowerSGD
export CountSketch, Download, Prune, PruneChannels, shrink

# Secure aggregation: the parties, their messages, and the cryptography of libsodium.
include("secagg/sodium.jl")
include("secagg/keys.jl")
include("secagg/masks.jl")
include("secagg/shamir.jl")
include("secagg/messages.jl")
include("secagg/party_client.jl")
include("secagg/party_server.jl")
include("secagg/unmasking.jl")
include("secagg/simulation.jl")
include("secagg/fixedpoint.jl")
include("secagg/discrete_gaussian.jl")
include("secagg/skellam.jl")
include("secagg/noise_shares.jl")
export SecureSetup, SecureClient, SecureServer, SecureMean, secure_sum

# Aggregators: many updates into one.
include("aggregation/aggregator.jl")
include("aggregation/mean.jl")
include("aggregation/parallel_blocks.jl")
include("aggregation/buffered.jl")
include("aggregation/sorting.jl")
include("aggregation/coordinates.jl")
include("aggregation/distances.jl")
include("aggregation/krum.jl")
include("aggregation/geometric.jl")
include("aggregation/secure_mean.jl")
include("aggregation/clipping.jl")
include("aggregation/fltrust.jl")
export Aggregator, Mean, Median, TrimmedMean, Krum, MultiKrum, Bulyan, GeometricMedian
export NormClipping, CenteredClipping, FLTrust, combine_updates

# The mean of encrypted updates, with Python's TenSEAL.
include("aggregation/ckks.jl")
export CKKS

# Worker processes, on this machine and on others.
include("workers/launches.jl")
include("workers/processes.jl")

# Federation: settings and state, a client's training, the round, the run.
include("federation/json.jl")
include("federation/compatibility.jl")
include("federation/cohorts/sampling.jl")
include("federation/cohorts/learned_sampling.jl")
include("federation/training/schedules.jl")
include("federation/cohorts/faults.jl")
include("federation/cohorts/attacks.jl")
include("federation/cohorts/informed_attacks.jl")
include("federation/cohorts/backdoor.jl")
include("federation/training/control.jl")
include("federation/workers/parallel.jl")
include("federation/training/lessons.jl")
include("federation/training/local_training.jl")
include("federation/training/private_training.jl")
include("federation/state.jl")
include("federation/workers/process_pool.jl")
include("federation/workers/worker_pool.jl")
include("federation/runs/history.jl")
include("federation/guarantees/accounting.jl")
include("federation/guarantees/guarantee.jl")
include("federation/evaluation/evaluation.jl")
include("federation/client_round.jl")
include("federation/workers/remote.jl")
include("federation/rounds/validation.jl")
include("federation/rounds/round_state.jl")
include("federation/rounds/round.jl")
include("federation/rounds/async.jl")
include("federation/runs/best.jl")
include("federation/runs/stopping.jl")
include("federation/evaluation/personal.jl")
include("federation/evaluation/membership.jl")
include("federation/runs/run_log.jl")
include("federation/runs/fit.jl")
include("federation/runs/baselines.jl")
include("federation/evaluation/client_table.jl")
include("federation/audits/canary.jl")
include("federation/audits/audit.jl")
export Federated, State, LocalTraining, ServerStep, Faults, Attackers, round!, fit!
export CohortSampling, Stopping, Record, StepDecay, ExponentialDecay, CosineDecay, Warmup
export PowerOfChoice, Oort, audit, isbroken, MembershipInference

# Checkpoints: durable files, packed states, resuming.
include("checkpoints/durable.jl")
include("checkpoints/safetensors.jl")
include("checkpoints/pack.jl")
include("checkpoints/history_file.jl")
include("checkpoints/checkpoint.jl")
include("checkpoints/lock.jl")
include("checkpoints/restore.jl")
include("checkpoints/resume.jl")
export Checkpoints

# Deployment: client and server on machines of their own, and the messages between them.
include("deployment/message_header.jl")
include("deployment/encoding.jl")
include("deployment/answered.jl")
include("deployment/client_memory.jl")
include("deployment/compressed_downloads.jl")
include("deployment/client.jl")
include("deployment/parties.jl")
include("deployment/session.jl")
include("deployment/secure_rounds.jl")
include("deployment/ckks_rounds.jl")
include("deployment/server.jl")
include("deployment/flower_peers.jl")

# Interface: a run from its options, the case study's verbs, Python's entry.
include("interface/case_study.jl")
include("interface/metrics.jl")
include("interface/snapshot.jl")
include("interface/result.jl")
include("interface/own_objects.jl")
include("interface/runs/starting_point.jl")
include("interface/runs/preparation.jl")
include("interface/runs/progress.jl")
include("interface/runs/figures.jl")
include("interface/runs/run.jl")
include("interface/runs/deployed_run.jl")
include("interface/results/result_facts.jl")
include("interface/results/result_files.jl")
include("interface/results/load_result.jl")
include("interface/results/personal_model.jl")
include("interface/results/predict.jl")
include("interface/comparison/grid.jl")
include("interface/comparison/statistics.jl")
include("interface/comparison/runs.jl")
include("interface/comparison/table.jl")
include("interface/comparison/files.jl")
include("interface/comparison/compare.jl")
include("interface/python/python_functions.jl")
include("interface/python/run_calls.jl")
include("interface/python/compare_calls.jl")
include("interface/python/deployment_calls.jl")
include("interface/python/model_calls.jl")
include("interface/precompile.jl")
export train_model!, aggregate_models, update_model!, update_model
export accuracy, predict_proba, score, personal

end

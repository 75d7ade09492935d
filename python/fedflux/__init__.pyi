"""The names of fedflux, for type checkers.

Made by tools/make_types.py from the core's tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from . import (
    flower as flower,
    he as he,
    plots as plots,
    sklearn as sklearn,
    tracking as tracking,
)
from ._comparison.compare import compare as compare
from ._comparison.comparison import Comparison as Comparison
from ._comparison.sweep import sweep as sweep
from ._extensions.aggregator import Aggregator as Aggregator
from ._extensions.context import Context as Context
from ._extensions.rule import Rule as Rule
from ._julia.start import setup as setup
from ._options.classes import Spec
from ._privacy.accountant import epsilon as epsilon, noise_multiplier as noise_multiplier
from ._privacy.audit import Audit as Audit, audit as audit
from ._report.report import report as report
from ._results.result import Result as Result
from ._results.snapshot import Snapshot as Snapshot
from ._simulation.run import partition as partition, run as run
from ._version import __version__ as __version__
from .errors import (
    DataError as DataError,
    FedFluxError as FedFluxError,
    FedFluxWarning as FedFluxWarning,
    Interrupted as Interrupted,
    JuliaUnavailable as JuliaUnavailable,
    OptionError as OptionError,
)

__all__ = [
    "AFL",
    "ALIE",
    "APFL",
    "CKKS",
    "DPFTRL",
    "DPSGD",
    "EMA",
    "IFCA",
    "IID",
    "IPM",
    "MOON",
    "QFFL",
    "QSGD",
    "SGD",
    "TERM",
    "Adagrad",
    "Adam",
    "AdamW",
    "Aggregator",
    "AlwaysAvailable",
    "Audit",
    "AvailabilityTrace",
    "Backdoor",
    "Broken",
    "Bulyan",
    "ByOwner",
    "CenteredClipping",
    "ClientDP",
    "Comparison",
    "Context",
    "CosineDecay",
    "CountSketch",
    "Crash",
    "Crop",
    "Cutout",
    "DataError",
    "Delay",
    "Dirichlet",
    "Ditto",
    "DropOut",
    "ExponentialDecay",
    "FLTrust",
    "Fang",
    "FeatureNoise",
    "FedADMM",
    "FedALA",
    "FedAdagrad",
    "FedAdam",
    "FedAsync",
    "FedAvgM",
    "FedBABU",
    "FedBN",
    "FedBuff",
    "FedCM",
    "FedDC",
    "FedDisco",
    "FedDyn",
    "FedExP",
    "FedFluxError",
    "FedFluxWarning",
    "FedLC",
    "FedNTD",
    "FedNova",
    "FedPer",
    "FedProto",
    "FedProx",
    "FedRS",
    "FedRep",
    "FedRoD",
    "FedSAM",
    "FedSGD",
    "FedYogi",
    "Flip",
    "GeometricMedian",
    "InnerDirichlet",
    "Interrupted",
    "JuliaUnavailable",
    "Krum",
    "LGFedAvg",
    "LabelFlip",
    "LabelSkew",
    "LocalDP",
    "Mean",
    "Median",
    "Mime",
    "MimeLite",
    "MinMax",
    "MinSum",
    "Mixup",
    "Momentum",
    "MultiKrum",
    "Nesterov",
    "NoiseAttack",
    "NormClipping",
    "Oort",
    "OptionError",
    "PFedMe",
    "Pathological",
    "PerFedAvg",
    "PoissonSampling",
    "PowerOfChoice",
    "PowerSGD",
    "Prune",
    "PruneChannels",
    "QuantitySkew",
    "Quantize",
    "RMSProp",
    "RandK",
    "RandomAvailability",
    "RedrawnDirichlet",
    "Result",
    "Rotate",
    "RoundRobin",
    "Rule",
    "Scaffnew",
    "Scaffold",
    "Scaling",
    "SecureMean",
    "ServerSGD",
    "Shards",
    "Shift",
    "SignFlip",
    "SignSGD",
    "Similarity",
    "Sizes",
    "Snapshot",
    "StepDecay",
    "Ternary",
    "TopK",
    "TrimmedMean",
    "UniformSampling",
    "Warmup",
    "WeightedSampling",
    "__version__",
    "audit",
    "compare",
    "epsilon",
    "noise_multiplier",
    "partition",
    "report",
    "run",
    "setup",
    "sweep",
]

@dataclass(frozen=True)
class IID(Spec):
    """Equal shares of the shuffled data."""

@dataclass(frozen=True)
class Dirichlet(Spec):
    """Label skew: the shares of each label are drawn from a Dirichlet distribution."""

    alpha: float = ...
    min_size: int = ...

@dataclass(frozen=True)
class Shards(Spec):
    """McMahan's split: sort by label, cut into shards, give each client k shards."""

    k: int = ...

@dataclass(frozen=True)
class LabelSkew(Spec):
    """K labels per client: client i holds the labels i to i+k-1, and shares each label
    equally with its other holders.
    """

    k: int = ...

@dataclass(frozen=True)
class QuantitySkew(Spec):
    """Clients of different sizes, drawn from a Dirichlet distribution, with the same
    mix of labels.
    """

    alpha: float = ...
    min_size: int = ...

@dataclass(frozen=True)
class FeatureNoise(Spec):
    """Equal shares; Gaussian noise of variance level·k/N on the inputs of client k of
    N.
    """

    level: float = ...

@dataclass(frozen=True)
class Pathological(Spec):
    """K labels per client: each label, in equal shares, goes to the next clients that
    hold fewer than k.
    """

    k: int = ...

@dataclass(frozen=True)
class Sizes(Spec):
    """Clients whose sizes follow a law of their number, with the same mix of labels."""

    law: Literal["linear", "square", "exponential"] = ...
    min_size: int = ...

@dataclass(frozen=True)
class InnerDirichlet(Spec):
    """Equal sizes; each client's mix of labels is drawn from a Dirichlet distribution."""

    alpha: float = ...

@dataclass(frozen=True)
class Similarity(Spec):
    """Percent % of the samples dealt at random, the rest sorted by label in blocks."""

    percent: float = ...

@dataclass(frozen=True)
class RedrawnDirichlet(Spec):
    """Dirichlet as NIID-Bench draws it: drawn again until the smallest client has
    min_size samples.
    """

    alpha: float = ...
    min_size: int = ...

@dataclass(frozen=True)
class ByOwner(Spec):
    """Each client holds the samples of one owner, as the data's `owner` lists them."""

@dataclass(frozen=True)
class UniformSampling(Spec):
    """Clients_per_round different clients, all equally likely."""

@dataclass(frozen=True)
class PoissonSampling(Spec):
    """Each client with the same probability, independently; a cohort may be empty."""

    rate: float | None = ...

@dataclass(frozen=True)
class WeightedSampling(Spec):
    """Clients_per_round different clients, in proportion to their numbers of samples."""

@dataclass(frozen=True)
class RoundRobin(Spec):
    """The next clients_per_round clients, in a cycle."""

@dataclass(frozen=True)
class PowerOfChoice(Spec):
    """Of some candidates, those with the highest losses when they last trained."""

    candidates: int | None = ...

@dataclass(frozen=True)
class Oort(Spec):
    """Clients with many samples and high losses, and some that never trained."""

    explore: float = ...
    decay: float = ...
    least: float = ...
    cutoff: float = ...

@dataclass(frozen=True)
class AlwaysAvailable(Spec):
    """Every client is available in every round."""

@dataclass(frozen=True)
class RandomAvailability(Spec):
    """A client is available with probability p in each round."""

    p: float = ...

@dataclass(frozen=True)
class AvailabilityTrace(Spec):
    """Availability from a file: a line for each round, a 0 or 1 for each client."""

    path: str

@dataclass(frozen=True)
class Shift(Spec):
    """Move an image by a random number of pixels along each axis."""

    pixels: int = ...

@dataclass(frozen=True)
class Crop(Spec):
    """A random crop after padding with zeros: another name for shift."""

    pad: int = ...

@dataclass(frozen=True)
class Flip(Spec):
    """Mirror an image, left to right, with probability 1/2."""

@dataclass(frozen=True)
class Rotate(Spec):
    """Rotate an image about its center by a random angle."""

    degrees: float = ...

@dataclass(frozen=True)
class Cutout(Spec):
    """Set a random square of an image to 0."""

    size: int = ...

@dataclass(frozen=True)
class Mixup(Spec):
    """Mix the samples of a batch, and their targets, in pairs."""

    alpha: float = ...

@dataclass(frozen=True)
class Mean(Spec):
    """The weighted mean of the updates (FedAvg)."""

@dataclass(frozen=True)
class Median(Spec):
    """The median of each coordinate."""

@dataclass(frozen=True)
class TrimmedMean(Spec):
    """The mean of each coordinate without its smallest and largest values."""

    fraction: float = ...

@dataclass(frozen=True)
class Krum(Spec):
    """The update closest to its nearest neighbors; needs 2f + 3 updates."""

    f: int = ...

@dataclass(frozen=True)
class MultiKrum(Spec):
    """The mean of the m updates with the best Krum scores; needs 2f + 3 updates."""

    f: int = ...
    m: int | None = ...

@dataclass(frozen=True)
class Bulyan(Spec):
    """Krum's choice of n - 2f updates, then for each coordinate the mean of the values
    nearest the median; needs 4f + 3 updates.
    """

    f: int = ...

@dataclass(frozen=True)
class GeometricMedian(Spec):
    """The point with the smallest weighted sum of distances to the updates (RFA)."""

    iterations: int = ...
    tolerance: float = ...
    nu: float = ...

@dataclass(frozen=True)
class NormClipping(Spec):
    """The weighted mean of the updates, each scaled down to a maximum norm."""

    c: float = ...

@dataclass(frozen=True)
class CenteredClipping(Spec):
    """The mean of the updates, each clipped around the last round's result."""

    tau: float = ...
    iterations: int = ...

@dataclass(frozen=True)
class FLTrust(Spec):
    """A mean that trusts updates similar to the server's own, which is trained on a
    few samples set aside.
    """

    root: int = ...

@dataclass(frozen=True)
class CKKS(Spec):
    """The weighted mean under homomorphic encryption: the server adds what it can't
    read; needs fedflux[he].
    """

    poly_modulus_degree: int = ...
    coeff_mod_bit_sizes: Iterable[int] = ...
    scale_bits: int = ...

@dataclass(frozen=True)
class SecureMean(Spec):
    """The weighted mean by secure aggregation: the server learns only the sum; a
    simulation has all parties.
    """

    neighbours: int | None = ...
    threshold: float = ...
    range: float = ...
    bits: int | None = ...
    ring: int = ...
    drop: float = ...
    noise: float | None = ...
    clip: float | None = ...
    cohort: int | None = ...
    law: Literal["discrete_gaussian", "skellam"] = ...
    delta: float = ...
    budget: float | None = ...

@dataclass(frozen=True)
class FedProx(Spec):
    """Pull each client towards the global model."""

    mu: float = ...

@dataclass(frozen=True)
class Scaffold(Spec):
    """Control variates that correct the drift of clients with different data."""

    momentum: bool = ...

@dataclass(frozen=True)
class FedNova(Spec):
    """Normalized averaging, for clients that take different numbers of steps."""

@dataclass(frozen=True)
class FedDyn(Spec):
    """A dynamic regularizer that aligns the clients' optima with the global one."""

    alpha: float = ...

@dataclass(frozen=True)
class Ditto(Spec):
    """A personal model beside the global one, pulled towards it."""

    lam: float = ...

@dataclass(frozen=True)
class FedPer(Spec):
    """A private head: the last layers stay with the client."""

    head: int = ...
    arrays: Iterable[str] = ...

@dataclass(frozen=True)
class FedRep(Spec):
    """A private head that is trained alone, before the shared body."""

    head: int = ...
    arrays: Iterable[str] = ...
    head_epochs: int = ...

@dataclass(frozen=True)
class FedBN(Spec):
    """Private normalization layers, with their statistics."""

@dataclass(frozen=True)
class FedSGD(Spec):
    """One gradient per round over all of a client's data."""

@dataclass(frozen=True)
class QFFL(Spec):
    """Fairness: clients with a higher loss count more (q-FedAvg)."""

    q: float = ...

@dataclass(frozen=True)
class AFL(Spec):
    """Agnostic: weight the clients by the mixture on which the model is worst."""

    lr: float = ...

@dataclass(frozen=True)
class FedBuff(Spec):
    """Asynchronous: the server steps after clients_per_round updates, from any
    clients; the clients' speeds are simulated.
    """

    concurrency: int = ...
    spread: float = ...

@dataclass(frozen=True)
class LGFedAvg(Spec):
    """Private representations: only the last layers are shared."""

    head: int = ...

@dataclass(frozen=True)
class FedBABU(Spec):
    """The head keeps its initial values, and the body is shared; for fine-tuning."""

    head: int = ...
    arrays: Iterable[str] = ...

@dataclass(frozen=True)
class FedLC(Spec):
    """Calibrated logits: classes of which a client has few samples win by a larger
    margin.
    """

    tau: float = ...

@dataclass(frozen=True)
class FedRoD(Spec):
    """A shared model trained on the balanced softmax, and a private head on its
    features.
    """

    personal: bool = ...

@dataclass(frozen=True)
class FedRS(Spec):
    """Restricted softmax: logits of classes that a client lacks are scaled down."""

    alpha: float = ...
    few: int = ...

@dataclass(frozen=True)
class FedExP(Spec):
    """The server extrapolates: its step is the longer, the more the clients disagree."""

    eps: float = ...

@dataclass(frozen=True)
class FedCM(Spec):
    """Client-level momentum: clients mix the last round's direction into their
    gradients.
    """

    alpha: float = ...

@dataclass(frozen=True)
class FedDC(Spec):
    """Clients keep their drift, which the server adds to the mean of their models."""

    alpha: float = ...

@dataclass(frozen=True)
class FedADMM(Spec):
    """The alternating direction method of multipliers: a dual variable for each
    client.
    """

    rho: float = ...
    eta: float | None = ...

@dataclass(frozen=True)
class TERM(Spec):
    """Tilted losses: clients with a higher loss count more (t > 0) or less (t < 0)."""

    t: float = ...

@dataclass(frozen=True)
class FedSAM(Spec):
    """Sharpness-aware minimization on the clients; with fedcm it is MoFedSAM."""

    rho: float = ...
    adaptive: bool = ...

@dataclass(frozen=True)
class PerFedAvg(Spec):
    """A global model from which one gradient step leads to a good personal one."""

    alpha: float = ...
    hessian: bool = ...
    delta: float = ...

@dataclass(frozen=True)
class PFedMe(Spec):
    """Personal models by Moreau envelopes, which the global model is the mean of."""

    lam: float = ...
    inner_steps: int = ...
    inner_lr: float = ...
    beta: float = ...

@dataclass(frozen=True)
class APFL(Spec):
    """Personal models that are mixtures of the global model and one of the client's
    own.
    """

    alpha: float = ...
    adaptive: bool = ...

@dataclass(frozen=True)
class MimeLite(Spec):
    """The server's momentum in every step of the clients, who don't change it."""

    beta: float = ...

@dataclass(frozen=True)
class Mime(Spec):
    """The server's momentum, and steps corrected by the cohort's gradient; two rounds
    each.
    """

    beta: float = ...

@dataclass(frozen=True)
class Scaffnew(Spec):
    """ProxSkip: control variates, and a random number of local steps, the same for
    all.
    """

    p: float = ...

@dataclass(frozen=True)
class FedAsync(Spec):
    """Asynchronous: each client's model is mixed into the global one, less if it is
    stale.
    """

    alpha: float = ...
    a: float = ...
    b: float | None = ...
    concurrency: int = ...
    spread: float = ...

@dataclass(frozen=True)
class EMA(Spec):
    """Evaluate and return a moving average of the server's models."""

    decay: float = ...

@dataclass(frozen=True)
class FedDisco(Spec):
    """Weighs clients by how near their mix of labels is to a uniform one, too."""

    a: float = ...
    b: float = ...

@dataclass(frozen=True)
class IFCA(Spec):
    """Clusters of clients, a model for each; a client takes the one with the lowest
    loss.
    """

    clusters: int = ...

@dataclass(frozen=True)
class FedNTD(Spec):
    """Not-true distillation: clients keep what the global model knows of other
    classes.
    """

    beta: float = ...
    tau: float = ...

@dataclass(frozen=True)
class MOON(Spec):
    """Contrastive: features near the global model's, and far from the client's last
    ones.
    """

    mu: float = ...
    tau: float = ...

@dataclass(frozen=True)
class FedProto(Spec):
    """Only the mean features of each class travel; each client keeps its model."""

    lam: float = ...

@dataclass(frozen=True)
class FedALA(Spec):
    """Each client learns how to mix its last model with the global one."""

    layers: int = ...
    eta: float = ...
    start_epochs: int = ...

@dataclass(frozen=True)
class ClientDP(Spec):
    """Client-level differential privacy: updates are clipped, and the server adds
    noise to their sum; needs equal weights (weights = uniform).
    """

    clip: float = ...
    noise_multiplier: float = ...
    delta: float = ...
    budget: float | None = ...
    quantile: float | None = ...
    clip_lr: float = ...
    count_noise: float | None = ...
    reproducible: bool = ...

@dataclass(frozen=True)
class DPFTRL(Spec):
    """Client-level differential privacy for cohorts that are not random: the noise of
    a binary tree over the rounds (DP-FTRL); needs round_robin sampling or all
    clients, and equal weights (weights = uniform).
    """

    clip: float = ...
    noise_multiplier: float = ...
    delta: float = ...
    budget: float | None = ...
    reproducible: bool = ...

@dataclass(frozen=True)
class LocalDP(Spec):
    """Local differential privacy: each client clips its update and adds noise itself."""

    clip: float = ...
    noise_multiplier: float = ...
    delta: float = ...
    reproducible: bool = ...

@dataclass(frozen=True)
class DPSGD(Spec):
    """Example-level differential privacy: each example's gradient is clipped, and each
    local step carries noise (DP-SGD).
    """

    clip: float = ...
    noise_multiplier: float = ...
    delta: float = ...
    reproducible: bool = ...

@dataclass(frozen=True)
class TopK(Spec):
    """Send the fraction of an update's values with the largest magnitude."""

    fraction: float = ...
    feedback: bool = ...

@dataclass(frozen=True)
class RandK(Spec):
    """Send a random fraction of an update's values."""

    fraction: float = ...
    feedback: bool = ...

@dataclass(frozen=True)
class Quantize(Spec):
    """Send each value in few bits, stochastically rounded to evenly spaced levels."""

    bits: int = ...
    bucket: int = ...
    feedback: bool = ...

@dataclass(frozen=True)
class QSGD(Spec):
    """Send the norm of each bucket, and each value as a random multiple of
    norm/levels.
    """

    levels: int = ...
    bucket: int = ...

@dataclass(frozen=True)
class SignSGD(Spec):
    """Send the signs, and the mean magnitude of each bucket."""

    bucket: int = ...
    feedback: bool = ...

@dataclass(frozen=True)
class Ternary(Spec):
    """Send each value as minus, zero or plus the bucket's largest magnitude
    (TernGrad).
    """

    bucket: int = ...

@dataclass(frozen=True)
class PowerSGD(Spec):
    """Send each array as the product of two thin matrices."""

    rank: int = ...
    iterations: int = ...
    feedback: bool = ...

@dataclass(frozen=True)
class CountSketch(Spec):
    """Send a count sketch; the server takes the largest values of the averaged sketch
    (FetchSGD).
    """

    rows: int = ...
    cols: int = ...
    k: int = ...

@dataclass(frozen=True)
class Prune(Spec):
    """Set the smallest weights to zero, and no longer send them."""

    sparsity: float = ...
    start: int = ...
    stop: int = ...

@dataclass(frozen=True)
class PruneChannels(Spec):
    """Set the weakest channels of each layer to zero, so that a smaller model remains."""

    fraction: float = ...
    start: int = ...
    stop: int = ...

@dataclass(frozen=True)
class SGD(Spec):
    """Gradient descent, with momentum if that is given."""

    momentum: float = ...
    nesterov: bool = ...
    weight_decay: float = ...
    clip: float | None = ...

@dataclass(frozen=True)
class Momentum(Spec):
    """Gradient descent with the option momentum."""

@dataclass(frozen=True)
class Adam(Spec):
    """Adam; weight decay enters its moments."""

    beta1: float = ...
    beta2: float = ...
    epsilon: float = ...
    weight_decay: float = ...
    clip: float | None = ...

@dataclass(frozen=True)
class AdamW(Spec):
    """Adam with weight decay apart from its moments."""

    weight_decay: float = ...
    beta1: float = ...
    beta2: float = ...
    epsilon: float = ...
    clip: float | None = ...

@dataclass(frozen=True)
class RMSProp(Spec):
    """Steps scaled by a running mean of the squared gradients."""

    rho: float = ...
    epsilon: float = ...
    weight_decay: float = ...
    clip: float | None = ...

@dataclass(frozen=True)
class Adagrad(Spec):
    """Steps that shrink with the sum of the squared gradients."""

    epsilon: float = ...
    weight_decay: float = ...
    clip: float | None = ...

@dataclass(frozen=True)
class ServerSGD(Spec):
    """Gradient descent on the average update; with lr 1 it adds the update."""

    lr: float = ...

@dataclass(frozen=True)
class FedAvgM(Spec):
    """Server momentum."""

    lr: float = ...
    momentum: float = ...

@dataclass(frozen=True)
class Nesterov(Spec):
    """Nesterov's momentum on the server, as DiLoCo's outer step."""

    lr: float = ...
    momentum: float = ...

@dataclass(frozen=True)
class FedAdagrad(Spec):
    """Adagrad on the server."""

    lr: float = ...
    beta1: float = ...
    tau: float = ...

@dataclass(frozen=True)
class FedAdam(Spec):
    """Adam on the server, without bias correction."""

    lr: float = ...
    beta1: float = ...
    beta2: float = ...
    tau: float = ...

@dataclass(frozen=True)
class FedYogi(Spec):
    """Yogi on the server, without bias correction."""

    lr: float = ...
    beta1: float = ...
    beta2: float = ...
    tau: float = ...

@dataclass(frozen=True)
class Crash(Spec):
    """A client does not answer."""

    p: float = ...

@dataclass(frozen=True)
class DropOut(Spec):
    """A client receives the model and fails before it sends its update."""

    p: float = ...

@dataclass(frozen=True)
class Delay(Spec):
    """A client's answer takes simulated seconds."""

    mean: float = ...
    law: Literal["exponential", "uniform", "constant"] = ...

@dataclass(frozen=True)
class SignFlip(Spec):
    """Send the update with the opposite sign."""

    scale: float = ...

@dataclass(frozen=True)
class Scaling(Spec):
    """Send the update multiplied by a large factor."""

    scale: float = ...

@dataclass(frozen=True)
class NoiseAttack(Spec):
    """Add Gaussian noise to the update."""

    std: float = ...

@dataclass(frozen=True)
class LabelFlip(Spec):
    """Train on the label C - 1 - y."""

@dataclass(frozen=True)
class Backdoor(Spec):
    """Train on images with a white square in the corner, labeled as one class."""

    target: int = ...
    fraction: float = ...
    size: int = ...
    scale: float = ...

@dataclass(frozen=True)
class ALIE(Spec):
    """Send the mean of the honest updates, shifted a little in every coordinate."""

    z: float | None = ...

@dataclass(frozen=True)
class IPM(Spec):
    """Send minus the mean of the honest updates."""

    eps: float = ...

@dataclass(frozen=True)
class MinMax(Spec):
    """The mean of the honest updates, moved as far as two honest ones are apart."""

    p: Literal["std", "mean", "sign"] = ...

@dataclass(frozen=True)
class MinSum(Spec):
    """As min_max, for the sum of the squared distances to the honest updates."""

    p: Literal["std", "mean", "sign"] = ...

@dataclass(frozen=True)
class Fang(Spec):
    """Values beyond the honest ones, on the other side than the mean moves to."""

    b: float = ...

@dataclass(frozen=True)
class Broken(Spec):
    """Send an invalid update."""

    what: Literal["nan", "inf", "shape", "slots", "stale", "twice", "weight"] = ...

@dataclass(frozen=True)
class StepDecay(Spec):
    """Multiply the learning rate by a factor after every few rounds."""

    every: int
    factor: float = ...

@dataclass(frozen=True)
class ExponentialDecay(Spec):
    """Multiply the learning rate by a factor after each round."""

    factor: float = ...

@dataclass(frozen=True)
class CosineDecay(Spec):
    """Decrease the learning rate along half a cosine."""

    rounds: int
    final: float = ...

@dataclass(frozen=True)
class Warmup(Spec):
    """Increase the learning rate linearly from near zero."""

    rounds: int

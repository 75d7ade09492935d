"""The options of a run, for type checkers.

Made by tools/make_types.py from the core's tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, Literal, TypedDict

from .._extensions import aggregator, cohorts, metrics, partition, server_step
from .._extensions.aggregator import Aggregator
from .._extensions.rule import Rule
from .._options.classes import Spec
from .._results.result import Result
from .._typing import TorchModule


class Options(TypedDict, total=False):
    """The options of `fedflux.run`; none must be given."""

    dataset: str | PathLike[str]
    """auto, mnist, fashionmnist, cifar10, cifar100, emnist, emnist:letters (or another
    of its parts), svhn, digits, shakespeare:PATH (a play, whose roles are the
    owners), leaf:FOLDER, adult:FOLDER, har:FOLDER, synthetic(alpha=1, beta=1),
    fcube, or the path of an .npz file with x_train, y_train, x_test, y_test (and
    owner_train and owner_test for the partition by owner). auto is MNIST if it is
    cached or can be downloaded, otherwise digits. With digits, model and lr have
    other defaults. Default: 'auto'.
    """

    data_dir: str | PathLike[str] | None
    """folder for downloaded data sets."""

    mean: Iterable[float] | float | None
    """value to subtract from every input (8-bit images are scaled to 0..1 first); a
    list has one for each channel or feature.
    """

    std: Iterable[float] | float | None
    """value to divide every input by, after subtracting the mean; a list has one for
    each channel or feature.
    """

    tokens: Literal["char", "word"]
    """what a token of a play is: a character or a word. Default: 'char'."""

    window: int
    """number of tokens in a sample of a play. Default: 80."""

    vocabulary: int
    """maximum number of different tokens of a play; the rarest become one token.
    Default: 10000.
    """

    min_characters: int
    """minimum number of characters of a role in a play; shorter roles are left out.
    Default: 1000.
    """

    normalise: Literal["none", "federated"]
    """federated: normalize each channel (or feature) to mean 0 and standard deviation
    1, with sums over all clients. Default: 'none'.
    """

    augment: str | Spec | Iterable[str | Spec]
    """random changes of the training images, in this order, drawn again in each epoch."""

    partition: str | Spec | partition.Given
    """how the training data is split among the clients. Default: 'iid'."""

    client_test: float | None
    """share of each client's samples that it keeps from training, to test the final
    models on (result.clients).
    """

    client_validation: float | None
    """share of each client's samples to set aside for validation, in place of a share
    of all.
    """

    validation: float | tuple[Any, Any] | None
    """share of the training samples to set aside for validation: patience,
    target_accuracy and the best model go by them, and the test data is read once,
    at the end.
    """

    clients: int
    """number of clients that hold data (partition by owner: the number of owners).
    Default: 10.
    """

    clients_per_round: int | None
    """number of clients drawn for each round; unset: all."""

    sampling: str | Spec | cohorts.Function
    """how the clients of a round are drawn. Default: 'uniform'."""

    availability: str | Spec | cohorts.Function
    """which clients are available in a round; only those can be drawn. Default:
    'always'.
    """

    rounds: int
    """maximum number of rounds. Default: 10."""

    aggregate: str | Spec | Aggregator | aggregator.Function
    """how the clients' updates are combined into one. Default: 'mean'."""

    weights: Literal["samples", "uniform"]
    """weight of a client in the average: its number of samples, or equal for all.
    Default: 'samples'.
    """

    rules: str | Spec | Rule | Iterable[str | Spec | Rule]
    """what clients and server do beyond averaging; see docs/algorithms.md."""

    server: str | Spec | server_step.Function | None
    """the server's optimizer, which takes the average update as its gradient; unset:
    the server adds the update as it is.
    """

    download: str | Spec | None
    """how the server compresses what it sends, e.g. quantize(bits=8); unset: not at
    all.
    """

    server_schedule: str | Spec | Iterable[str | Spec]
    """the server's learning rate over the rounds: factors that multiply it."""

    finetune_epochs: int
    """after the run, train the final model for this many epochs on each client's own
    data, and report the mean accuracy on each client's own mix of labels. Default:
    0.
    """

    membership: int
    """after each evaluated round, run a membership-inference attack on up to this many
    training samples and as many test samples; 0: no attack. Default: 0.
    """

    baselines: Iterable[str]
    """models to train for comparison, for the same number of epochs: centralized (all
    data in one place), local (each client alone).
    """

    model: (
        Literal[
            "case_study_cnn",
            "lenet",
            "mcmahan_cnn",
            "mlp",
            "softmax_regression",
            "rnn",
            "gru",
            "lstm",
            "transformer",
            "resnet8",
            "resnet18_gn",
            "mobilenet_small",
        ]
        | TorchModule
    )
    """the model to train; rnn, gru, lstm and transformer predict the next token. Or
    the description of one, a list of layers in JSON; in Python a PyTorch module,
    which is translated into that. Default: 'case_study_cnn'; mlp with
    dataset=digits.
    """

    hidden: Iterable[int]
    """sizes of the hidden layers of mlp and of the recurrent layers of rnn, gru and
    lstm; of transformer the inner size of each block. Default: [200, 200].
    """

    embedding: int
    """size of a token's vector in rnn, gru, lstm and transformer. Default: 8; 64 with
    model=transformer.
    """

    freeze: Iterable[str]
    """layers or arrays of the model, by name, that stay as they are, such as layers.1;
    they are not sent.
    """

    loss: Literal["cross_entropy", "binary_cross_entropy", "mse", "huber"]
    """loss on the model's raw outputs (both cross-entropies take logits). Default:
    'cross_entropy'.
    """

    class_weights: Iterable[float] | Literal["balanced"] | None
    """how much a sample of each class counts in the loss: a number for each class, or
    balanced, so that all classes count alike by the clients' numbers of samples;
    unset: 1.
    """

    label_smoothing: float
    """share of each label that is spread evenly over all classes. Default: 0.0."""

    huber_delta: float
    """error beyond which the loss huber grows linearly. Default: 1.0."""

    local_epochs: int
    """number of epochs that a client trains on its own data per round. Default: 1."""

    local_steps: int | None
    """maximum number of gradient steps per client and round; unset: all of the epochs."""

    samples_per_epoch: int | None
    """maximum number of samples of a client per epoch, drawn again each time; unset:
    all.
    """

    batch_size: int
    """number of samples per gradient step. Default: 32."""

    lr: float
    """learning rate of the clients' optimizer. Default: 0.05; 0.3 with dataset=digits,
    optimizer=sgd.
    """

    schedule: str | Spec | Iterable[str | Spec]
    """the clients' learning rate over the rounds: factors that multiply it."""

    optimizer: str | Spec
    """the clients' optimizer, with the learning rate lr; its state is reset each
    round, unless keep_optimizer is true. Default: 'sgd'.
    """

    keep_optimizer: bool
    """keep the state of a client's optimizer, such as its momentum, between its
    rounds; the client stores one or two vectors as long as the model. Default:
    False.
    """

    momentum: float
    """rho of the momentum optimizer. Default: 0.9."""

    target_accuracy: float | None
    """stop when the accuracy on the validation or the test data reaches this value."""

    target_metric: str | None
    """stop when a figure on the validation or the test data reaches a value, as in
    f1>=0.9 or loss<=0.2; of loss, accuracy, any of metrics or a name that metrics
    takes.
    """

    patience: int | None
    """stop after this many evaluations in a row that are not better by monitor."""

    monitor: str
    """the figure by which rounds are compared, on the validation or the test data: for
    patience, the best model of the result and the best checkpoint. Default: 'loss'.
    """

    metrics: Iterable[str] | metrics.Given
    """further figures in the history, on the validation or the test data after each
    evaluated round; in Python and Julia also functions of your own, by name.
    """

    time_budget: float | None
    """stop after the first round that ends later than this many seconds."""

    eval_every: int
    """rounds between evaluations (the last round is always evaluated). Default: 1."""

    seed: int
    """seed of all random numbers (split, initial parameters, cohorts, batches).
    Default: 0.
    """

    engine: Literal["auto", "julia", "reference"]
    """julia: the Julia core; reference: the slow NumPy implementation; auto: the core,
    or the reference with a warning if Julia can't be started. Default: 'auto'.
    """

    trainer: Literal["auto", "fast", "zygote"]
    """the core's gradient engine; auto: fast if it supports the model, else zygote.
    Default: 'auto'.
    """

    threads: int | None
    """number of clients to train at the same time; the result stays the same; unset:
    as many as Julia has threads.
    """

    workers: int
    """number of worker processes to start on this machine; each trains one client at a
    time; the result stays the same; 0: this process trains the clients on its
    threads. Default: 0.
    """

    machines: str | None
    """file that lists machines; worker processes start on them over SSH; each line is
    `[user@]host[:port] [processes]`.
    """

    checkpoint: str | PathLike[str] | None
    """folder for the run's checkpoints; it must not hold those of another run."""

    checkpoint_every: int
    """number of rounds between checkpoints (the last round always has one). Default:
    1.
    """

    checkpoint_keep: int
    """number of newest checkpoints to keep; the best by monitor is kept too. Default:
    3.
    """

    resume: str | PathLike[str] | Result | None
    """folder of checkpoints to continue from; options that you give replace the run's;
    if the folder has no checkpoint, the run starts from the beginning.
    """

    faults: str | Spec | Iterable[str | Spec]
    """simulated client failures: crash(p=0.1), dropout(p=0.1), delay(mean=5)."""

    deadline: float | None
    """simulated seconds after which the update of a delayed client is dropped."""

    overselect: float
    """ask this many times as many clients as a round needs; the first answers count.
    Default: 1.0.
    """

    min_updates: int
    """minimum number of valid updates; with fewer, a round leaves the model unchanged.
    Default: 1.
    """

    attack: str | Spec | None
    """what hostile clients do, for experiments."""

    attackers: int | None
    """number of hostile clients, drawn by the seed."""

    attacker_list: Iterable[int] | None
    """the hostile clients, by number from 1, instead of attackers."""

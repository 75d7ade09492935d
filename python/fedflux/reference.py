"""The reference engine: federated averaging in NumPy, written from the definitions.

It is the oracle that the Julia core is tested against, and what runs where Julia can't be had. It favours plainness
over speed. docs/design.md defines every random draw, so both engines see the same clients, cohorts and batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .options import declared
from .reference_models import Model
from .specs import parse
from .stream import BATCHES, COHORT, INITIAL, PARTITION, stream

Array = NDArray[Any]
Optimizer = Callable[[list[Array], list[Array]], None]

# Options that this engine heeds, with the values it knows where it does not know all. Any other option must keep its
# default, so that one added to the core later is refused here rather than ignored.
SUPPORTED: dict[str, tuple[Any, ...] | None] = {
    **dict.fromkeys(("dataset", "data_dir", "mean", "std", "clients", "clients_per_round", "rounds", "hidden")),
    **dict.fromkeys(("local_epochs", "local_steps", "batch_size", "lr", "momentum", "target_accuracy", "patience")),
    **dict.fromkeys(("time_budget", "eval_every", "seed", "engine", "trainer", "threads")),
    "partition": ("iid",),
    "aggregate": ("mean",),
    "weights": ("samples", "uniform"),
    "model": ("case_study_cnn", "lenet", "mcmahan_cnn", "mlp", "softmax_regression"),
    "loss": ("cross_entropy", "binary_cross_entropy", "mse"),
    "optimizer": ("sgd", "momentum", "adam"),
}


def check_supported(options: Mapping[str, Any]) -> None:
    """Refuse options that only the core heeds.

    Args:
        options: checked options of a run.

    Raises:
        OptionError: names the first option that this engine would have to ignore.

    Example:
        >>> from .options import check
        >>> check_supported(check({}))
    """
    if options["dataset"].startswith("shakespeare:"):
        raise OptionError("dataset shakespeare needs the Julia core; the reference engine has no models for text")
    for name, value in options.items():
        known = SUPPORTED.get(name)
        plain = parse(name, value)[0] if known is not None and declared()[name].kind == "spec" else value
        if (name not in SUPPORTED and value != declared()[name].default) or (known is not None and plain not in known):
            raise OptionError(f"{name}={value!r} needs the Julia core; the reference engine does not support it")


def scale(x: Array, mean: float | None, std: float | None) -> NDArray[np.float32]:
    """Scale 8-bit images to 0..1, subtract the mean and divide by the standard deviation; float32."""
    z = x.astype(np.float32)
    if x.dtype == np.uint8:
        z /= np.float32(255)
    if mean is not None:
        z -= np.float32(mean)
    if std is not None:
        z /= np.float32(std)
    return z


def initial(model: Model, seed: int) -> list[Array]:
    """Draw the initial parameters: Glorot uniform weights, zero biases, in model order, float32."""
    draws = stream(seed, INITIAL)
    params = []
    for shape in model.shapes.values():
        if len(shape) == 1:
            params.append(np.zeros(shape, np.float32))
            continue
        # (in, out) of a Dense layer; (out, in, height, width) of a convolution, whose fans count the window
        fans = sum(shape) if len(shape) == 2 else (shape[0] + shape[1]) * shape[2] * shape[3]
        limit = np.sqrt(np.float32(24) / np.float32(fans))
        params.append(((draws.float32(int(np.prod(shape))) - np.float32(0.5)) * limit).reshape(shape))
    return params


def iid(n: int, clients: int, seed: int) -> list[NDArray[np.int64]]:
    """Share n samples equally among clients at random; the first `n mod clients` get one more."""
    order = np.arange(n)
    stream(seed, PARTITION).shuffle(order)
    return np.array_split(order, clients)


def cohort(clients: int, size: int | None, seed: int, round: int) -> list[int]:
    """Draw the clients of a round, numbered from 1, sorted."""
    everyone = np.arange(1, clients + 1)
    if size is None or size == clients:
        return everyone.tolist()
    stream(seed, COHORT, round).shuffle(everyone)
    return sorted(everyone[:size].tolist())


def loss_and_gradient(loss: str, out: Array, y: Array) -> tuple[float, Array]:
    """Compute the mean loss of a batch and its gradient with respect to the raw outputs.

    Args:
        loss: cross_entropy, binary_cross_entropy or mse.
        out: raw outputs, (n, outputs).
        y: labels (n,), or targets (n,) or (n, outputs).

    Returns:
        The loss, and the gradient of shape (n, outputs).

    Example:
        >>> loss_and_gradient("mse", np.array([[3.0]]), np.array([1.0]))
        (4.0, array([[4.]]))
    """
    if loss == "cross_entropy":
        rows = np.arange(len(y))
        shifted = out - out.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        gradient = np.exp(log_p)
        gradient[rows, y] -= 1
        return float(-log_p[rows, y].mean()), gradient / len(y)
    target = y.reshape(out.shape).astype(out.dtype)
    if loss == "mse":
        return float(((out - target) ** 2).mean()), 2 * (out - target) / out.size
    # log(1 + e^-|out|) keeps both ends of the logistic function finite
    each = np.maximum(out, 0) - out * target + np.log1p(np.exp(-np.abs(out)))
    p = np.where(out >= 0, 1, np.exp(-np.abs(out))) / (1 + np.exp(-np.abs(out)))
    return float(each.mean()), (p - target).astype(out.dtype) / out.size


def optimizer(options: Mapping[str, Any]) -> Optimizer:
    """Make a fresh optimiser: a function that changes the parameters in place by a gradient step."""
    lr, rho = options["lr"], options["momentum"]
    first: list[Array] = []
    second: list[Array] = []
    steps = 0

    def step(w: list[Array], g: list[Array]) -> None:
        nonlocal steps
        steps += 1
        if not first:
            first.extend(np.zeros_like(a) for a in w)
            second.extend(np.zeros_like(a) for a in w)
        for a, d, m, v in zip(w, g, first, second, strict=True):
            match options["optimizer"]:
                case "sgd":
                    a -= lr * d
                case "momentum":
                    m[:] = rho * m + lr * d
                    a -= m
                case "adam":
                    m[:] = 0.9 * m + 0.1 * d
                    v[:] = 0.999 * v + 0.001 * d * d
                    a -= lr * (m / (1 - 0.9**steps)) / (np.sqrt(v / (1 - 0.999**steps)) + 1e-8)

    return step


def train_client(
    model: Model,
    start: Sequence[Array],
    x: Array,
    y: Array,
    held: Array,
    options: Mapping[str, Any],
    round: int,
    client: int,
) -> tuple[list[Array], float, int]:
    """Train on one client's samples, from the global parameters.

    Returns:
        The parameters afterwards, the sum of the samples' losses as they were seen, and how many were seen.
    """
    w = [a.copy() for a in start]
    step = optimizer(options)
    draws = stream(options["seed"], BATCHES, round, client)
    held, size = held.copy(), options["batch_size"]
    steps_left = options["local_steps"] or float("inf")
    total, seen = 0.0, 0
    for _ in range(options["local_epochs"]):
        if steps_left <= 0:  # a further shuffle would change nothing, only cost time
            break
        draws.shuffle(held)
        for at in range(0, len(held), size):
            if steps_left <= 0:
                break
            batch = held[at : at + size]
            out, saved = model.forward(w, x[batch])
            loss, gradient = loss_and_gradient(options["loss"], out, y[batch])
            step(w, model.backward(w, saved, gradient))
            total += loss * len(batch)
            seen += len(batch)
            steps_left -= 1
    return w, total, seen


def average(start: Sequence[Array], trained: Sequence[Sequence[Array]], weights: Sequence[float]) -> list[Array]:
    """Add the weighted mean of the clients' changes to the global parameters."""
    total = sum(weights)
    return [
        (a + sum(w * (b.astype(np.float64) - a) for w, b in zip(weights, each, strict=True)) / total).astype(a.dtype)
        for a, each in zip(start, zip(*trained, strict=True), strict=True)
    ]


def evaluate(
    model: Model, w: Sequence[Array], x: Array, y: Array, loss: str, classes: int
) -> tuple[float, Array | None]:
    """Compute the mean test loss and, where there are classes, the accuracy on each (NaN for one without samples)."""
    total, right = 0.0, np.zeros(classes)
    for at in range(0, len(x), 1000):
        out, _ = model.forward(w, x[at : at + 1000])
        part = y[at : at + 1000]
        total += loss_and_gradient(loss, out, part)[0] * len(part)
        if classes:
            said = out.argmax(axis=1) if loss == "cross_entropy" else (out[:, 0] > 0).astype(np.int64)
            right += np.bincount(part[said == part], minlength=classes)
    if not classes:
        return total / len(x), None
    with np.errstate(invalid="ignore"):
        return total / len(x), right / np.bincount(y, minlength=classes)


def spread(by_class: Array, shares: Array) -> dict[str, float]:
    """Summarise what the model scores at each client's mix of labels.

    Args:
        by_class: test accuracy on each class, NaN where the test data has none of it.
        shares: how many training samples of each class each client holds, (clients, classes).

    Returns:
        min, q1, median, q3, max over the clients.

    Example:
        >>> spread(np.array([1.0, 0.5]), np.array([[1, 0], [1, 1]]))["q1"]
        0.8125
    """
    known = ~np.isnan(by_class)
    held = shares[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = (shares[:, known] @ by_class[known]) / held
    scores = scores[held > 0]
    values = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1]) if scores.size else [float("nan")] * 5
    return dict(zip(("min", "q1", "median", "q3", "max"), map(float, values), strict=True))

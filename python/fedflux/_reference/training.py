"""The reference engine: federated averaging in NumPy, written from the definitions.

The Julia core is tested against it, and it runs if Julia is not available. It is simple
rather than fast. docs/random-streams.md defines every random draw, so both engines have
the same clients, cohorts and batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._options.specs import parse
from .._typing import Array
from ..errors import OptionError
from .losses import loss_and_gradient
from .models import Model
from .random_streams import BATCHES, COHORT, INITIAL, PARTITION, stream

Optimizer = Callable[[list[Array], list[Array]], None]


def initial(model: Model, seed: int) -> list[Array]:
    """Draw the initial parameters in model order: Glorot uniform weights, zero biases."""
    draws = stream(seed, INITIAL)
    params = []
    for shape in model.shapes.values():
        if len(shape) == 1:
            params.append(np.zeros(shape, np.float32))
            continue
        if len(shape) == 2:  # Dense: (in, out)
            fans = sum(shape)
        else:  # a convolution: (out, in, height, width)
            fans = (shape[0] + shape[1]) * shape[2] * shape[3]
        limit = np.sqrt(np.float32(24) / np.float32(fans))
        uniform = draws.float32(int(np.prod(shape))) - np.float32(0.5)
        params.append((uniform * limit).reshape(shape))
    return params


def iid(n: int, clients: int, seed: int) -> list[NDArray[np.int64]]:
    """Split n samples equally and at random; the first `n mod clients` get one more."""
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


def optimizer(options: Mapping[str, Any]) -> Optimizer:
    """Make an optimizer: a function that updates the parameters in place by a gradient."""
    name, settings = parse("optimizer", options["optimizer"])
    lr = options["lr"]
    if name == "momentum":  # an option of its own
        settings["momentum"] = options["momentum"]
    if settings.get("nesterov") and not settings["momentum"]:
        raise OptionError(
            "optimizer sgd: nesterov is true and momentum 0; expected a momentum, such as "
            "sgd(momentum=0.9, nesterov=true)"
        )
    clip, decay = settings.get("clip"), settings.get("weight_decay", 0.0)
    state: list[Array] = []
    steps = 0

    def step(w: list[Array], g: list[Array]) -> None:
        nonlocal steps
        steps += 1
        if not state:
            state.extend(np.zeros((2, *a.shape), a.dtype) for a in w)
        if clip is not None:
            norm = np.sqrt(sum(np.sum(d.astype(np.float64) ** 2) for d in g))
            g = [d * d.dtype.type(min(1.0, clip / norm)) if norm else d for d in g]
        for a, d, s in zip(w, g, state, strict=True):
            if name == "adamw":
                a -= _change(name, settings, lr, s, d, steps) + lr * decay * a
            else:
                a -= _change(name, settings, lr, s, d + decay * a, steps)

    return step


def _change(
    name: str, settings: Mapping[str, Any], lr: float, state: Array, g: Array, steps: int
) -> Array:
    """Return what a step takes away; `state` holds two vectors, which change."""
    first, second = state
    if name in ("sgd", "momentum"):
        rho = settings["momentum"]
        first[:] = rho * first + lr * g
        return np.asarray(lr * g + rho * first if settings.get("nesterov") else first)
    if name == "adagrad":
        second += g * g
        return np.asarray(lr * g / (np.sqrt(second) + settings["epsilon"]))
    if name == "rmsprop":
        second[:] = settings["rho"] * second + (1 - settings["rho"]) * g * g
        return np.asarray(lr * g / (np.sqrt(second) + settings["epsilon"]))
    beta1, beta2 = settings["beta1"], settings["beta2"]
    first[:] = beta1 * first + (1 - beta1) * g
    second[:] = beta2 * second + (1 - beta2) * g * g
    mean, square = first / (1 - beta1**steps), second / (1 - beta2**steps)
    return np.asarray(lr * mean / (np.sqrt(square) + settings["epsilon"]))


def train_client(
    model: Model,
    start: Sequence[Array],
    x: Array,
    y: Array,
    samples: Array,
    options: Mapping[str, Any],
    round: int,
    client: int,
) -> tuple[list[Array], float, int]:
    """Train on the samples of one client, from the global parameters.

    Args:
        model: the model.
        start: the global parameters.
        x, y: all training data.
        samples: the indices of the client's samples.
        options: every option, checked.
        round, client: their numbers, from 1.

    Returns:
        The parameters after training, the sum of the losses of the samples seen, and the
        number of the samples seen.
    """
    w = [a.copy() for a in start]
    step = optimizer(options)
    draws = stream(options["seed"], BATCHES, round, client)
    samples, size = samples.copy(), options["batch_size"]
    steps_left = options["local_steps"] or float("inf")
    total, seen = 0.0, 0
    for _ in range(options["local_epochs"]):
        if steps_left <= 0:  # another shuffle would only take time
            break
        draws.shuffle(samples)
        for first in range(0, len(samples), size):
            if steps_left <= 0:
                break
            batch = samples[first : first + size]
            out, saved = model.forward(w, x[batch])
            loss, gradient = loss_and_gradient(options, out, y[batch])
            step(w, model.backward(w, saved, gradient))
            total += loss * len(batch)
            seen += len(batch)
            steps_left -= 1
    return w, total, seen


def average(
    start: Sequence[Array], trained: Sequence[Sequence[Array]], weights: Sequence[float]
) -> list[Array]:
    """Add the weighted mean of the clients' changes to the global parameters."""
    total = sum(weights)
    averaged = []
    for a, arrays in zip(start, zip(*trained, strict=True), strict=True):
        changes = (b.astype(np.float64) - a for b in arrays)
        change = sum(w * d for w, d in zip(weights, changes, strict=True)) / total
        averaged.append((a + change).astype(a.dtype))
    return averaged


def evaluate(
    model: Model,
    w: Sequence[Array],
    x: Array,
    y: Array,
    options: Mapping[str, Any],
    classes: int,
) -> tuple[float, float | None, Array | None]:
    """Compute the mean test loss, the accuracy and the accuracy on each class.

    Returns:
        The loss; the share of samples whose label is right, or all of whose labels are;
        the accuracies, NaN for a class without samples. None without classes.
    """
    loss = options["loss"]
    total, correct, right = 0.0, np.zeros(classes), 0
    for first in range(0, len(x), 1000):
        out, _ = model.forward(w, x[first : first + 1000])
        part = y[first : first + 1000]
        total += loss_and_gradient(options, out, part)[0] * len(part)
        if classes:
            multiclass = loss == "cross_entropy"
            predicted = (
                out.argmax(axis=1) if multiclass else (out[:, 0] > 0).astype(np.int64)
            )
            correct += np.bincount(part[predicted == part], minlength=classes)
        elif loss == "binary_cross_entropy":  # several labels
            right += int(((out > 0) == (part > 0)).all(axis=1).sum())
    if not classes:
        several = loss == "binary_cross_entropy"
        return total / len(x), right / len(x) if several else None, None
    counts = np.bincount(y, minlength=classes)
    with np.errstate(invalid="ignore"):
        by_class = correct / counts
    accuracy = float(np.nansum(by_class * counts) / counts.sum())
    return total / len(x), accuracy, by_class


def outputs(model: Model, w: Sequence[Array], x: Array) -> Array:
    """Compute the outputs of a model, (n, outputs)."""
    starts = range(0, len(x), 1000)
    return np.concatenate([model.forward(w, x[i : i + 1000])[0] for i in starts])


def predictions(out: Array, loss: str, axes: int) -> Array:
    """Return the labels or the numbers that outputs predict.

    Args:
        out: (n, outputs).
        loss: its name.
        axes: of the targets; one if there is one for a sample.

    Example:
        >>> predictions(np.array([[0.0, 2.0]]), "cross_entropy", 1)
        array([1])
    """
    if loss == "cross_entropy":
        labels: Array = out.argmax(axis=1)
        return labels
    if axes == 1:
        out = out[:, 0]
    return (out > 0).astype(np.int64) if loss == "binary_cross_entropy" else out


def probabilities(out: Array, loss: str, axes: int) -> Array:
    """Return the probabilities of the classes; arguments as of `predictions`.

    Raises:
        OptionError: the loss has no classes.

    Example:
        >>> probabilities(np.array([[0.0]]), "binary_cross_entropy", 1)
        array([[0.5, 0.5]])
    """
    if loss == "cross_entropy":
        p: Array = np.exp(out - out.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p
    if loss != "binary_cross_entropy":
        raise OptionError("the loss has no classes, and so no probabilities")
    p = 1 / (1 + np.exp(-out))
    return np.concatenate([1 - p, p], axis=1) if axes == 1 else p


def spread(by_class: Array, counts: Array) -> dict[str, float]:
    """Summarize the accuracy of the model on the labels of each client.

    Args:
        by_class: test accuracy on each class, NaN if the test data lacks the class.
        counts: number of training samples per client and class, (clients, classes).

    Returns:
        min, q1, median, q3 and max over the clients.

    Example:
        >>> spread(np.array([1.0, 0.5]), np.array([[1, 0], [1, 1]]))["q1"]
        0.8125
    """
    known = ~np.isnan(by_class)
    sizes = counts[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = (counts[:, known] @ by_class[known]) / sizes
    scores = scores[sizes > 0]
    quantiles = [float("nan")] * 5
    if scores.size:
        quantiles = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return dict(zip(("min", "q1", "median", "q3", "max"), quantiles, strict=True))

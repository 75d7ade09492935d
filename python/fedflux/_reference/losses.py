"""The losses of the reference engine, and their gradients, from the definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.arrays import Data
from .._typing import Array
from ..errors import OptionError


def loss_and_gradient(
    options: Mapping[str, Any], out: Array, y: Array
) -> tuple[float, Array]:
    """Compute the mean loss of a batch and its gradient by the raw outputs.

    Args:
        options: `loss`, and what shapes it: `class_weights`, a list, `label_smoothing` and
            `huber_delta`.
        out: raw outputs, (n, outputs).
        y: labels, (n,), or targets, (n,) or (n, outputs).

    Returns:
        The loss, and the gradient of shape (n, outputs).

    Example:
        >>> loss_and_gradient({"loss": "mse"}, np.array([[3.0]]), np.array([1.0]))
        (4.0, array([[4.]]))
    """
    match options["loss"]:
        case "cross_entropy":
            return _cross_entropy(options, out, y)
        case "binary_cross_entropy":
            return _binary_cross_entropy(options, out, y)
    error = out - y.reshape(out.shape).astype(out.dtype)
    if options["loss"] == "mse":
        return float((error**2).mean()), 2 * error / out.size
    delta = options["huber_delta"]
    far = np.abs(error) > delta
    losses = np.where(far, delta * (np.abs(error) - delta / 2), error**2 / 2)
    return float(losses.mean()), np.clip(error, -delta, delta) / out.size


def _cross_entropy(options: Mapping[str, Any], out: Array, y: Array) -> tuple[float, Array]:
    shifted = out - out.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    weights, smoothing = _shape(options)
    share = np.full_like(out, smoothing / out.shape[1])
    share[np.arange(len(y)), y] += 1 - smoothing
    if weights is not None:
        share = share * np.array(weights, out.dtype)
    gradient = share.sum(axis=1, keepdims=True) * np.exp(log_p) - share
    return float(-(share * log_p).sum(axis=1).mean()), gradient / len(y)


def _binary_cross_entropy(
    options: Mapping[str, Any], out: Array, y: Array
) -> tuple[float, Array]:
    target = y.reshape(out.shape).astype(out.dtype)
    weights, smoothing = _shape(options)
    weight = 1.0 if weights is None else np.where(target > 0, weights[1], weights[0])
    target = (1 - smoothing) * target + smoothing / 2
    # log(1 + e^-|out|) keeps both ends of the logistic function finite
    losses = np.maximum(out, 0) - out * target + np.log1p(np.exp(-np.abs(out)))
    p = np.where(out >= 0, 1, np.exp(-np.abs(out))) / (1 + np.exp(-np.abs(out)))
    gradient = (weight * (p - target)).astype(out.dtype) / out.size
    return float((weight * losses).mean()), gradient


def _shape(options: Mapping[str, Any]) -> tuple[list[float] | None, float]:
    """Return the weights of the classes, or None, and the share that is spread."""
    return options.get("class_weights"), options.get("label_smoothing", 0.0)


def balanced(counts: Array) -> list[float]:
    """Return the weights with which all classes count alike: n/(classes·count).

    Args:
        counts: number of samples of each class.

    Example:
        >>> balanced(np.array([1, 0, 3]))
        [2.0, 1.0, 0.6666666666666666]
    """
    scale = counts.sum() / (counts > 0).sum()
    return [float(scale / n) if n else 1.0 for n in counts]


def outputs_and_classes(loss: str, data: Data) -> tuple[int, int]:
    """Return the number of the model's outputs, and of the classes (0 for none).

    Example:
        >>> outputs_and_classes("mse", Data(np.zeros((2, 3)), np.zeros((2, 4)), None, None))
        (4, 0)
    """
    y = data.y_train
    if loss == "cross_entropy":
        classes = int(y.max()) + 1
        return classes, classes
    if loss == "binary_cross_entropy" and y.ndim == 1:
        return 1, 2
    return (1 if y.ndim == 1 else y.shape[1]), 0


def with_class_weights(
    options: Mapping[str, Any], outputs: int, y: Array, parts: Sequence[NDArray[np.int64]]
) -> Mapping[str, Any]:
    """Check the weights of the classes, or put the balanced ones into the options.

    Args:
        options: every option.
        outputs: of the model.
        y: all labels.
        parts: the samples of each client.

    Raises:
        OptionError: there is another number of weights than of classes.

    Example:
        >>> with_class_weights({"class_weights": None}, 2, np.zeros(1), [])
        {'class_weights': None}
    """
    weights = options["class_weights"]
    if weights is None or "cross_entropy" not in options["loss"]:
        return options
    classes = outputs if options["loss"] == "cross_entropy" else 2
    if weights == "balanced":
        held = y[np.concatenate(parts)].astype(np.int64)
        weights = balanced(np.bincount(held.ravel(), minlength=classes))
        return {**options, "class_weights": weights}
    if len(weights) != classes:
        raise OptionError(
            f"class_weights holds {len(weights)} numbers; expected one for each of the "
            f"{classes} classes"
        )
    return options

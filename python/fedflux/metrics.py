"""Measures of predictions beside the truth, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, OptionError, shown

Array = NDArray[Any]
Metric = str | Callable[[Array, Array], Any]

OF_LABELS = ("accuracy", "f1", "auc", "perplexity")
OF_NUMBERS = ("r2", "mae", "mse")


def measure(metric: Metric, y: Array, predicted: Array, proba: Array | None) -> Any:
    """Compute a measure.

    Args:
        metric: accuracy; f1, the mean over the classes of 2 TP / (2 TP + FP + FN); auc, the
            area under the ROC curve, for more than two classes the mean of each against the
            rest; perplexity, exp of the mean cross-entropy; r2, 1 - Σ(y - ŷ)² / Σ(y - ȳ)²;
            mae; mse; or a function of the targets and the predictions.
        y: the targets.
        predicted: labels or numbers, in the shape of `y`.
        proba: the probability of each class, (..., classes); None where there are none.

    Returns:
        The number, or what the function returns.

    Raises:
        OptionError: an unknown metric, or one that does not fit the predictions.
        DataError: the shapes differ.

    Example:
        >>> measure("mae", np.array([3.0, 2.0]), np.array([2.0, 2.0]), None)
        0.5
    """
    if y.shape != predicted.shape:
        raise DataError(f"y: expected shape {predicted.shape}, got {y.shape}")
    if callable(metric):
        return metric(y, predicted)
    if metric not in (*OF_LABELS, *OF_NUMBERS):
        names = ", ".join((*OF_LABELS, *OF_NUMBERS))
        raise OptionError(
            f"metric: expected one of {names}, or a function of the targets and the "
            f"predictions, got {shown(metric)}"
        )
    if (proba is None) != (metric in OF_NUMBERS):
        fits = OF_NUMBERS if proba is None else OF_LABELS
        raise OptionError(f"metric: expected one of {', '.join(fits)}, got {metric!r}")
    y, predicted = y.reshape(-1), predicted.reshape(-1)
    if proba is not None:
        proba = proba.reshape(-1, proba.shape[-1])
        return float(_OF_LABELS[metric](y, predicted, proba))
    return float(_OF_NUMBERS[metric](y.astype(float), predicted.astype(float)))


def f1(y: Array, predicted: Array) -> float:
    """Return the mean over the labels of 2 TP / (2 TP + FP + FN)."""
    labels = np.union1d(y, predicted)
    scores = (
        2 * np.sum((y == c) & (predicted == c)) / (np.sum(y == c) + np.sum(predicted == c))
        for c in labels
    )
    return float(np.mean(list(scores)))


def area(positive: Array, scores: Array) -> float:
    """Return the share of pairs of a positive and another that the scores order rightly.

    Example:
        >>> area(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    above, below = scores[positive], np.sort(scores[~positive])
    if not len(above) or not len(below):
        return float("nan")
    less = np.searchsorted(below, above, "left")
    upto = np.searchsorted(below, above, "right")
    return float((less + upto).sum() / 2 / (len(above) * len(below)))


def auc(y: Array, proba: Array) -> float:
    """Return the area under the ROC curve, the mean of each class against the rest."""
    if proba.shape[1] == 2:
        areas = [area(y == 1, proba[:, 1])]
    else:
        areas = [area(y == c, proba[:, c]) for c in range(proba.shape[1])]
    known = [a for a in areas if not np.isnan(a)]
    if not known:
        raise DataError("metric auc: expected samples of more than one class")
    return float(np.mean(known))


def perplexity(y: Array, proba: Array) -> float:
    """Return exp of the mean cross-entropy."""
    held = np.maximum(proba[np.arange(len(y)), y], np.finfo(np.float32).tiny)
    return float(np.exp(-np.log(held).mean()))


_OF_LABELS: dict[str, Callable[[Array, Array, Array], float]] = {
    "accuracy": lambda y, predicted, proba: np.mean(y == predicted),
    "f1": lambda y, predicted, proba: f1(y, predicted),
    "auc": lambda y, predicted, proba: auc(y, proba),
    "perplexity": lambda y, predicted, proba: perplexity(y, proba),
}
_OF_NUMBERS: dict[str, Callable[[Array, Array], float]] = {
    "r2": lambda y, p: 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2),
    "mae": lambda y, p: np.mean(np.abs(y - p)),
    "mse": lambda y, p: np.mean((y - p) ** 2),
}

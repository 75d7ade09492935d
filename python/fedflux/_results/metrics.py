"""Measures of predictions beside the truth, in NumPy, as scikit-learn defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError, OptionError, shown

Metric = str | Callable[[Array, Array], Any]

OF_LABELS = ("accuracy", "f1", "auc", "perplexity")
OF_NUMBERS = ("r2", "mae", "mse")
# The averages that a measure takes; the first is the default.
AVERAGES = {
    "f1": ("macro", "micro", "weighted", "samples", "binary"),
    "auc": ("macro", "micro", "weighted", "samples"),
    "r2": ("macro", "weighted"),
}


def measure(
    metric: Metric,
    y: Array,
    predicted: Array,
    proba: Array | None,
    average: str | None = None,
) -> Any:
    """Compute a measure, with scikit-learn's definition of it.

    Args:
        metric: accuracy, if there are several labels the share of samples whose labels
            are all right; f1, 2 TP / (2 TP + FP + FN); auc, the area under the ROC curve,
            for more than two classes of each against the rest; perplexity, exp of the mean
            cross-entropy; r2, 1 - Σ(y - ŷ)² / Σ(y - ȳ)²; mae; mse; or a function of the
            targets and the predictions.
        y: the targets, in the shape of `predicted`, or (n, 1) for (n,).
        predicted: labels or numbers: (n,), (n, length) for tokens, or (n, k).
        proba: the probability of each class, (..., classes), or of each of several labels,
            in the shape of `predicted`, or None if there are none.
        average: how f1 and auc combine classes or labels, and r2 outputs: macro (the mean;
            the default), micro (counted together), weighted (by the number of samples of a
            class, the positives of a label, the variance of an output), samples (the mean
            over the samples of several labels), or, for f1 of two classes, binary (of
            class 1 alone).

    Returns:
        The number, or what the function returns.

    Raises:
        OptionError: an unknown metric or average, or one that does not fit the predictions.
        DataError: the shapes differ, or the measure is not defined for these targets.

    Example:
        >>> measure("mae", np.array([3.0, 2.0]), np.array([2.0, 2.0]), None)
        0.5
    """
    y = in_shape(y, predicted)
    if callable(metric):
        _check_average(metric, average)
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
    average = _check_average(metric, average)
    if proba is None:
        columns = (len(y), -1)
        _check_finite(metric, predicted)
        y, predicted = (a.reshape(columns).astype(float) for a in (y, predicted))
        return float(_OF_NUMBERS[metric](y, predicted, average))
    if metric in ("auc", "perplexity"):
        _check_finite(metric, proba)
    if proba.shape == predicted.shape:  # several labels, (n, k)
        if metric == "perplexity":
            raise OptionError("metric perplexity: expected one label for each sample")
        return float(_OF_SEVERAL[metric](y, predicted, proba, average))
    y, predicted = y.reshape(-1), predicted.reshape(-1)
    proba = proba.reshape(-1, proba.shape[-1])
    return float(_OF_CLASSES[metric](y.astype(np.int64), predicted, proba, average))


def in_shape(y: Array, predicted: Array) -> Array:
    """Return the targets in the shape of the predictions.

    Example:
        >>> in_shape(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]))
        array([1., 2.])
    """
    if y.shape != predicted.shape and y.shape == (*predicted.shape, 1):
        y = y.reshape(predicted.shape)
    if y.shape != predicted.shape:
        raise DataError(f"y: expected shape {predicted.shape}, got {y.shape}")
    return y


def _check_average(metric: Metric, average: str | None) -> str:
    known = () if callable(metric) else AVERAGES.get(metric, ())
    if average is None:
        return known[0] if known else ""
    if not known:
        name = "a function" if callable(metric) else metric
        raise OptionError(f"average: expected none for metric {name}, got {shown(average)}")
    if average not in known:
        raise OptionError(
            f"average: expected one of {', '.join(known)} for metric {metric}, got "
            f"{shown(average)}"
        )
    return average


def _check_finite(metric: str, values: Array) -> None:
    if not np.isfinite(values).all():
        raise DataError(
            f"metric {metric}: expected finite predictions, got NaN or infinity: the model "
            "diverged; try a smaller learning rate"
        )


def _ratio(over: Array, under: Array) -> Array:
    """Divide; 0 if there is nothing to divide by, as scikit-learn has it."""
    return np.divide(over, under, out=np.zeros(np.shape(over)), where=under > 0)


def _combined(scores: Array, weights: Array, average: str) -> Any:
    if average != "weighted":
        return np.mean(scores)
    return np.average(scores, weights=weights) if weights.sum() > 0 else 0.0


def _f1(right: Array, true: Array, said: Array, average: str) -> Any:
    """Combine the F1 of classes or labels, from how often each is right, true and said."""
    if average == "micro":
        return _ratio(2 * right.sum(), true.sum() + said.sum())
    return _combined(_ratio(2 * right, true + said), true, average)


def _f1_of_classes(y: Array, predicted: Array, proba: Array, average: str) -> Any:
    if average == "samples":
        raise OptionError("average: 'samples' is for several labels of each sample")
    n = int(max(y.max(), predicted.max())) + 1
    right = np.bincount(y[y == predicted], minlength=n)
    true, said = np.bincount(y, minlength=n), np.bincount(predicted, minlength=n)
    if average == "binary":
        if proba.shape[1] != 2:
            raise OptionError(
                f"average: 'binary' is for two classes, and there are {proba.shape[1]}"
            )
        return _ratio(2 * right, true + said)[1] if n == 2 else 0.0
    seen = true + said > 0
    return _f1(right[seen], true[seen], said[seen], average)


def _f1_of_several(y: Array, predicted: Array, proba: Array, average: str) -> Any:
    if average == "binary":
        raise OptionError("average: 'binary' is for two classes, not for several labels")
    axis = 1 if average == "samples" else 0
    right, true, said = ((a == 1).sum(axis) for a in (y * predicted, y, predicted))
    return _f1(right, true, said, average)


def area(positive: Array, scores: Array) -> float:
    """Return the share of pairs of a positive and another that the scores order rightly.

    Example:
        >>> area(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    above, below = scores[positive], np.sort(scores[~positive])
    if not len(above) or not len(below):
        raise DataError("metric auc: expected positive and other samples, got one kind")
    less = np.searchsorted(below, above, "left")
    upto = np.searchsorted(below, above, "right")
    return float((less + upto).sum() / 2 / (len(above) * len(below)))


def _auc_of_classes(y: Array, predicted: Array, proba: Array, average: str) -> Any:
    counts = np.bincount(y, minlength=proba.shape[1])
    absent = np.flatnonzero(counts == 0)
    if len(absent) or len(counts) < 2:
        raise DataError(
            "metric auc: expected samples of every class, got none of class "
            + ", ".join(map(str, absent[:10]))
        )
    if proba.shape[1] == 2:
        return area(y == 1, proba[:, 1])
    if average == "samples":
        raise OptionError("average: 'samples' is for several labels of each sample")
    if average == "micro":
        return area((y[:, None] == np.arange(proba.shape[1])).ravel(), proba.ravel())
    areas = np.array([area(y == c, proba[:, c]) for c in range(proba.shape[1])])
    return _combined(areas, counts, average)


def _auc_of_several(y: Array, predicted: Array, proba: Array, average: str) -> Any:
    positive = y == 1
    if average == "micro":
        return area(positive.ravel(), proba.ravel())
    if average == "samples":
        positive, proba = positive.T, proba.T
    for i, count in enumerate(positive.sum(axis=0)):
        if count in (0, len(positive)):
            what = "sample" if average == "samples" else "label"
            raise DataError(
                f"metric auc: expected 0 and 1 for every {what}, got only "
                f"{int(count > 0)} for {what} {i}"
            )
    areas = np.array([area(positive[:, i], proba[:, i]) for i in range(proba.shape[1])])
    return _combined(areas, positive.sum(axis=0), average)


def _perplexity(y: Array, predicted: Array, proba: Array, average: str) -> Any:
    """Return exp of the mean cross-entropy."""
    held = np.maximum(proba[np.arange(len(y)), y], np.finfo(np.float32).tiny)
    return np.exp(-np.log(held).mean())


def _r2(y: Array, predicted: Array, average: str) -> Any:
    """Return the mean of each output's R²: 0 for a constant one that is missed, else 1."""
    if len(y) < 2:
        raise DataError("metric r2: expected at least two samples, got one")
    missed, spread = ((y - predicted) ** 2).sum(0), ((y - y.mean(0)) ** 2).sum(0)
    scores = 1 - _ratio(missed, spread)
    scores[(spread == 0) & (missed > 0)] = 0
    uniform = average == "macro" or not spread.any()
    return _combined(scores, spread, "macro" if uniform else average)


_OF_CLASSES: dict[str, Callable[[Array, Array, Array, str], Any]] = {
    "accuracy": lambda y, predicted, proba, average: np.mean(y == predicted),
    "f1": _f1_of_classes,
    "auc": _auc_of_classes,
    "perplexity": _perplexity,
}
_OF_SEVERAL: dict[str, Callable[[Array, Array, Array, str], Any]] = {
    "accuracy": lambda y, predicted, proba, average: np.mean((y == predicted).all(1)),
    "f1": _f1_of_several,
    "auc": _auc_of_several,
}
_OF_NUMBERS: dict[str, Callable[[Array, Array, str], Any]] = {
    "r2": _r2,
    "mae": lambda y, predicted, average: np.mean(np.abs(y - predicted)),
    "mse": lambda y, predicted, average: np.mean((y - predicted) ** 2),
}

"""Labels of any type: the classes that they name, and their numbers for the engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._options.models import has_labels
from .._typing import Array
from ..errors import DataError
from .conversion import checked_array, missing_label

Classes = list[Any]  # texts, integers or booleans, in the order of their numbers


def numbered(
    y_train: Any, y_test: Any, loss: str, keep_integers: bool
) -> tuple[Any, Any, Classes | None]:
    """Number the classes of the labels, unless they are numbered already.

    Args:
        y_train, y_test: labels, one for each sample, or other targets; `y_test` may be
            None.
        loss: name of the loss.
        keep_integers: whether integers from 0 are the numbers of a model's outputs, even if
            some are missing.

    Returns:
        The numbers of the labels, from 0, and the classes in sorted order; or the targets
        as they are, and None, if they are the integers 0 to n - 1, or no labels.

    Raises:
        DataError: missing labels, one class alone for a binary loss or more than two, or a
            label that only the test data has.

    Example:
        >>> numbered(["no", "yes", "no"], ["yes"], "cross_entropy", False)
        (array([0, 1, 0]), array([1]), ['no', 'yes'])
        >>> numbered([0, 2, 1], None, "cross_entropy", False)[2] is None
        True
    """
    same = (y_train, y_test, None)
    if not has_labels(loss):
        return same
    y = _labels("y_train", y_train)
    yt = None if y_test is None else _labels("y_test", y_test)
    if y is None or (y_test is not None and yt is None):
        return same
    if y.dtype.kind in "iu" and _is_numbered(y, yt, loss, keep_integers):
        return same
    names, numbers = np.unique(y, return_inverse=True)
    if loss == "binary_cross_entropy" and len(names) != 2:
        raise DataError(
            f"y_train: expected two classes for binary_cross_entropy, got {len(names)}: "
            f"{_listed(names.tolist())}"
        )
    classes = names.tolist()
    numbers = numbers.reshape(-1).astype(np.int64)
    if yt is None:
        return numbers, None, classes
    return numbers, codes("y_test", yt, classes), classes


def codes(name: str, y: Any, classes: Sequence[Any]) -> Array:
    """Return the number of each label's class.

    Args:
        name: names the labels in errors.
        y: labels, one for each sample.
        classes: the classes, sorted, in the order of their numbers.

    Raises:
        DataError: labels of another type or shape, or of no class.

    Example:
        >>> codes("y", ["b", "a"], ["a", "b"])
        array([1, 0])
    """
    labels = _labels(name, y)
    kind = np.asarray(classes).dtype.kind
    if labels is None or (labels.dtype.kind == "U") != (kind == "U"):
        got = np.asarray(y)
        raise DataError(
            f"{name}: expected labels as in y_train, such as {classes[0]!r}, got an array "
            f"of {got.dtype.name} of shape {got.shape}"
        )
    known = np.array(classes)  # in sorted order
    place = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    strange = labels[known[place] != labels]
    if strange.size:
        raise DataError(
            f"{name}: no sample of y_train has the label {strange[0].item()!r}; expected "
            f"one of {_listed(list(classes))}"
        )
    return np.asarray(place, np.int64)


def _labels(name: str, value: Any) -> Array | None:
    """Return one label for each sample, texts, integers or booleans; None for others."""
    missing_label(name, value)
    y = checked_array(name, value)
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "USb":
        y = y[:, 0]
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    return y if y.ndim == 1 and y.dtype.kind in "Ubiu" else None


def _is_numbered(y: Array, yt: Array | None, loss: str, keep_integers: bool) -> bool:
    """Whether integers are the numbers of classes: all from 0 to the largest."""
    present = np.unique(y if yt is None or yt.dtype.kind not in "iu" else _both(y, yt))
    if loss == "binary_cross_entropy":
        return bool(np.isin(present, (0, 1)).all())
    if present[0] == 0 and len(present) == int(present[-1]) + 1:
        return True
    return keep_integers and bool(present[0] >= 0)


def _both(y: Array, yt: Array) -> Array:
    return np.concatenate([np.unique(y), np.unique(yt)])


def _listed(classes: Classes) -> str:
    shown = ", ".join(map(repr, classes[:8]))
    return shown + (f", … ({len(classes)} in all)" if len(classes) > 8 else "")

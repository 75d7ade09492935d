"""The targets of samples, for training and for scores: labels and numbers, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError
from .conversion import NUMBERS, checked_array, finite, from_zero

ANY_TARGETS = "any"  # in the place of a loss's name: integers and floats stay what they are


def checked_truth(value: Any, classes: int | None) -> Array:
    """Check the targets that predictions are compared with, named `y` in errors.

    Args:
        value: labels or numbers.
        classes: the number of classes, or None for numbers.

    Returns:
        int64 labels, or the numbers as they are.

    Raises:
        DataError: texts, NaN or infinity, or labels that are not whole or not a class.

    Example:
        >>> checked_truth([True, False], 2)
        array([1, 0])
    """
    y = checked_array("y", value)
    if y.dtype.kind not in NUMBERS:
        what = f"the text {str(y.flat[0])!r}" if y.dtype.kind == "U" else y.dtype.name
        raise DataError(f"y: expected numbers, as in y_train, got {what}")
    if not np.isfinite(y).all():
        raise DataError(f"y: expected finite numbers, got {y[~np.isfinite(y)][0]}")
    if classes is None:
        return y
    wrong = y[(y != np.floor(y)) | (y < 0) | (y >= classes)]
    if wrong.size:
        raise DataError(
            f"y: expected labels from 0 to {classes - 1}, got {wrong.flat[0]:g}"
        )
    return y.astype(np.int64)


def checked_targets(name: str, value: Any, loss: str, tokens: bool) -> Array:
    """Check the targets of samples, named `name` in errors.

    Args:
        name: names them in errors.
        value: as `from_arrays` in data.py describes them.
        loss: name of the loss, or `ANY_TARGETS`.
        tokens: whether there may be a label for each token, (n, length).

    Returns:
        int64 labels or float32 numbers; a column (n, 1) as a list (n,).

    Raises:
        DataError: targets of another shape or type, or outside the loss's labels.

    Example:
        >>> checked_targets("y_train", [[1], [0]], "binary_cross_entropy", False)
        array([1, 0])
    """
    y = checked_array(name, value)
    if loss == "cross_entropy":
        return _labels(name, y, max_dimensions=2 if tokens else 1)
    if loss == ANY_TARGETS and y.dtype.kind in "iu":
        return np.ascontiguousarray(y, dtype=np.int64)
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(f"{name}: expected shape (n,) or (n, outputs), got {y.shape}")
    if y.dtype.kind not in NUMBERS:
        raise DataError(f"{name}: expected numbers, got {y.dtype.name}")
    if loss != ANY_TARGETS and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # a column is a list
    y = finite(name, y)
    if loss == "binary_cross_entropy":
        wrong = y[(y != 0) & (y != 1)]
        if wrong.size:
            raise DataError(
                f"{name}: expected labels 0 and 1 for binary_cross_entropy, got "
                f"{wrong[0]:g}"
            )
        if y.ndim == 1:
            return y.astype(np.int64)
    return y


def _labels(name: str, y: Array, max_dimensions: int) -> Array:
    if not 1 <= y.ndim <= max_dimensions:
        advice = ""
        if y.ndim == 2 and y.shape[1] > 1:
            advice = f"; for one-hot labels give {name}.argmax(axis=1)"
        elif y.ndim == 2:
            advice = f"; give {name}.ravel()"
        raise DataError(
            f"{name}: expected integer labels of shape (n,), got {y.shape}{advice}"
        )
    if y.dtype.kind in "USO":
        raise DataError(
            f"{name}: expected integer labels from 0, got the text {str(y.flat[0])!r}; "
            f"number the classes: names, {name} = np.unique({name}, return_inverse=True)"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        finite(name, y)
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{name}: expected integer labels from 0, got {y.dtype.name}; convert with "
            f"{name}.astype('int64')"
        )
    return from_zero(name, y, "labels", "number the classes from 0")

"""The user's arrays: checked and converted, or rejected with a clear error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, warn
from .owners import checked_array, owned

MAX_CLASSES = 1_000_000
ANY_TARGETS = "any"  # in the place of a loss's name: integers and floats stay what they are

Array = NDArray[Any]


class Data(NamedTuple):
    """Training and test data, checked, in the order that the core takes.

    Attributes:
        x_train: inputs, C-contiguous: uint8 (scaled to 0..1 later) or float32 of shape
            (n, features), (n, height, width) or (n, channels, height, width), or int64
            tokens of shape (n, length).
        y_train: targets: int64 labels of shape (n,) or, for tokens, (n, length), or float32
            of shape (n,) or (n, outputs).
        x_test, y_test: the same for the test data, or None.
        owner: the owner of each training sample, int64 from 0 of shape (n,), or None.
        owner_test: the same for the test samples, -1 for an owner without training samples.
        owners: the names of the owners, by these numbers; they stay in Python.
    """

    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None
    owner: Array | None = None
    owner_test: Array | None = None
    owners: Array | None = None

    @property
    def arrays(self) -> tuple[Array | None, ...]:
        """What the core takes: all but the names."""
        return self[:6]


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    owner: Any = None,
    owner_test: Any = None,
    *,
    loss: str,
    clients: int,
    tokens: bool = False,
) -> Data:
    """Check the user's arrays.

    Args:
        x_train, x_test: inputs, uint8 or floats, see `Data`.
        y_train, y_test: for `cross_entropy` integer labels from 0, (n,); for
            `binary_cross_entropy` 0 and 1, (n,) or (n, outputs); for `mse` numbers, (n,) or
            (n, outputs).
        owner: the owner of each training sample, numbers or names, (n,), for the partition
            by owner.
        owner_test: the owner of each test sample.
        loss: name of the loss.
        clients: number of clients that share the training data.
        tokens: whether inputs and labels may be integers from 0, (n, length), for models
            that begin with an embedding.

    Returns:
        The data, C-contiguous, in the types that the core takes.

    Raises:
        DataError: lengths, shapes or types that don't fit, NaN or infinity, labels outside
            the classes, or fewer samples than clients.

    Example:
        >>> data = from_arrays([[0, 1.0]], [1], None, None, loss="cross_entropy", clients=1)
        >>> data.x_train.dtype
        dtype('float32')
    """
    if x_train is None or y_train is None:
        missing = "x_train" if x_train is None else "y_train"
        raise DataError(f"{missing} is missing: give both x_train and y_train")
    if (x_test is None) != (y_test is None):
        missing = "x_test" if x_test is None else "y_test"
        raise DataError(f"{missing} is missing: give both x_test and y_test, or neither")
    x = checked_inputs("x_train", x_train, tokens)
    y = _targets("y_train", y_train, loss, tokens)
    _check_lengths("train", x, y)
    if clients > len(x):
        raise DataError(
            f"clients={clients} is more than the {len(x)} training samples: expected at "
            "most one client per sample"
        )
    if owner_test is not None and (owner is None or x_test is None):
        missing = "owner" if owner is None else "x_test"
        raise DataError(f"{missing} is missing: owner_test needs owner, x_test and y_test")
    if x_test is None:
        return Data(x, y, None, None, *owned(owner, len(x)))
    xt = checked_inputs("x_test", x_test, tokens)
    yt = _targets("y_test", y_test, loss, tokens)
    _check_lengths("test", xt, yt)
    _check_test_data(x, y, xt, yt, loss)
    return Data(x, y, xt, yt, *owned(owner, len(x), owner_test, len(xt)))


def check_next_tokens(data: Data) -> None:
    """Check that there is a label for each token, as the recurrent models need.

    Raises:
        DataError: the shapes of tokens and labels differ.
    """
    pairs = (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test))
    for part, x, y in pairs:
        if x is not None and y is not None and x.ndim == 2 and x.shape != y.shape:
            raise DataError(
                f"y_{part}: expected a label for each token of x_{part}, shape {x.shape}, "
                f"got {y.shape}"
            )


def checked_inputs(name: str, value: Any, tokens: bool) -> Array:
    """Check inputs, named `name` in errors; `tokens` as in `from_arrays`."""
    x = checked_array(name, value)
    if tokens and x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim == 2:
        if x.size == 0:
            raise DataError(f"{name}: expected at least one token, got shape {x.shape}")
        advice = "number the tokens from 0, or pass other numbers as floats"
        return _from_zero(name, x, "tokens", advice)
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{name}: expected shape (n, features), (n, height, width) or "
            f"(n, channels, height, width), got {x.shape}"
        )
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] > 4:
        warn(
            f"{name}: shape {x.shape} is read as (n, channels, height, width); if the "
            f"channels come last, pass np.moveaxis({name}, -1, 1)"
        )
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise DataError(
            f"{name}: expected uint8 (images, scaled to 0..1) or floats, got "
            f"{x.dtype.name}; convert with {name}.astype('uint8') or "
            f"{name}.astype('float32')"
        )
    return _finite(name, x)


def _finite(name: str, values: Array) -> Array:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{name}: expected finite numbers, got {values[first]} at {list(first)} "
            f"({(~finite).sum()} in all)"
        )
    return values


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
    if y.dtype.kind not in "biuf":
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


def _targets(name: str, value: Any, loss: str, tokens: bool) -> Array:
    y = checked_array(name, value)
    if loss == "cross_entropy":
        return _labels(name, y, max_dimensions=2 if tokens else 1)
    if loss == ANY_TARGETS and y.dtype.kind in "iu":
        return np.ascontiguousarray(y, dtype=np.int64)
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(f"{name}: expected shape (n,) or (n, outputs), got {y.shape}")
    if y.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, got {y.dtype.name}")
    if loss != ANY_TARGETS and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # a column is a list
    y = _finite(name, y)
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
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{name}: expected integer labels from 0, got {y.dtype.name}; convert with "
            f"{name}.astype('int64')"
        )
    return _from_zero(name, y, "labels", "number the classes from 0")


def _from_zero(name: str, values: Array, what: str, advice: str) -> Array:
    if values.min() < 0:
        raise DataError(f"{name}: expected {what} from 0, got {values.min()}")
    if values.max() >= MAX_CLASSES:
        raise DataError(
            f"{name}: expected {what} below {MAX_CLASSES}, got {values.max()}; {advice}"
        )
    return np.ascontiguousarray(values, dtype=np.int64)


def _check_lengths(part: str, x: Array, y: Array) -> None:
    if len(x) != len(y):
        raise DataError(
            f"y_{part}: expected {len(x)} targets, one for each sample of x_{part}, got "
            f"{len(y)}"
        )


def _check_test_data(x: Array, y: Array, xt: Array, yt: Array, loss: str) -> None:
    """Check that the shapes, the type and the classes fit the training data."""
    for name, train, test in (("x", x, xt), ("y", y, yt)):
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"{name}_test: expected samples of shape {train.shape[1:]} as in "
                f"{name}_train, got {test.shape[1:]}"
            )
    if x.dtype != xt.dtype:
        raise DataError(
            f"x_test: expected {x.dtype.name} as in x_train, got {xt.dtype.name}; "
            "8-bit images are scaled to 0..1 and floats are not"
        )
    if loss == "cross_entropy" and yt.max() > y.max():
        raise DataError(
            f"y_test: label {yt.max()} is outside the classes 0..{y.max()} of y_train"
        )

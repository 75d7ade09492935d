"""The user's arrays: checked and converted, or rejected with a clear error."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..errors import DataError, warn
from .conversion import checked_array, finite, from_zero
from .labels import codes, numbered
from .mapped import is_mapped, mapped, stays
from .owners import owned
from .parts import Parts
from .targets import checked_targets


class Data(NamedTuple):
    """Training and test data, checked, in the order that the core takes.

    Attributes:
        x_train: inputs, C-contiguous, in one array or in `Parts`: uint8 (scaled to 0..1
            later), float32, or float64 (until it is normalized) of shape (n, features),
            (n, height, width) or (n, channels, height, width), or int64 tokens of shape
            (n, length).
        y_train: targets: int64 labels of shape (n,) or, for tokens, (n, length), or float32
            of shape (n,) or (n, outputs).
        x_test, y_test: the same for the test data, or None.
        owner: the owner of each training sample, int64 from 0 of shape (n,), or None.
        owner_test: the same for the test samples, -1 for an owner without training samples.
        owners: the names of the owners, by these numbers; they stay in Python.
        x_val, y_val: samples and targets to validate on, as the test data, or None.
        classes: the labels as they were given, by their numbers; None if they are numbers
            from 0 themselves.
    """

    x_train: Any  # an array, or Parts
    y_train: Array
    x_test: Any
    y_test: Array | None
    owner: Array | None = None
    owner_test: Array | None = None
    owners: Array | None = None
    x_val: Array | None = None
    y_val: Array | None = None
    classes: list[Any] | None = None

    @property
    def arrays(self) -> tuple[Array | list[Array] | str | None, ...]:
        """What the core takes: all but the owners' names, and the classes as JSON."""
        x, x_test, x_val = map(_for_core, (self.x_train, self.x_test, self.x_val))
        owners = (self.owner, self.owner_test)
        arrays = (x, self.y_train, x_test, self.y_test, *owners, x_val, self.y_val)
        # a list, or an array where another process has read it from a file
        named = None if self.classes is None else np.asarray(self.classes).tolist()
        return (*arrays, None if named is None else json.dumps(named))


def _for_core(x: Any) -> Any:
    """Return what the core takes: what is mapped stays, and so do the parts beside it."""
    if isinstance(x, Parts):
        anywhere = any(map(is_mapped, x))
        return [mapped(a) for a in x] if anywhere else x.arrays
    return mapped(x) if is_mapped(x) else x


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
    keep_labels: bool = True,
    keep_integers: bool = False,
) -> Data:
    """Check the user's arrays.

    Args:
        x_train, x_test: inputs, uint8 or floats, see `Data`.
        y_train, y_test: for `cross_entropy` labels, (n,); for `binary_cross_entropy` two
            labels, (n,), or 0 and 1, (n, outputs); for `mse` and `huber` numbers, (n,) or
            (n, outputs).
        owner: the owner of each training sample, numbers or names, (n,), for the partition
            by owner.
        owner_test: the owner of each test sample.
        loss: name of the loss.
        clients: number of clients that share the training data.
        tokens: whether inputs and labels may be integers from 0, (n, length), for models
            that begin with an embedding.
        keep_labels: whether labels must be numbers from 0 already, as in a deployment,
            where no machine knows all of them.
        keep_integers: whether integers from 0 stay, even if some are missing.

    Returns:
        The data, C-contiguous, in the types that the core takes.

    Raises:
        DataError: lengths, shapes or types that don't fit, NaN or infinity, labels outside
            the classes, or fewer samples than clients.

    Example:
        >>> data = from_arrays([[0, 1.0]], [1], None, None, loss="cross_entropy", clients=1)
        >>> data.x_train.dtype
        dtype('float64')
    """
    if x_train is None or y_train is None:
        missing = "x_train" if x_train is None else "y_train"
        raise DataError(f"{missing} is missing: give both x_train and y_train")
    if (x_test is None) != (y_test is None):
        missing = "x_test" if x_test is None else "y_test"
        raise DataError(f"{missing} is missing: give both x_test and y_test, or neither")
    x = checked_inputs("x_train", x_train, tokens)
    classes = None
    if not keep_labels:
        y_train, y_test, classes = numbered(y_train, y_test, loss, keep_integers)
    y = checked_targets("y_train", y_train, loss, tokens)
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
        return Data(x, y, None, None, *owned(owner, len(x)), classes=classes)
    xt = checked_inputs("x_test", x_test, tokens)
    yt = checked_targets("y_test", y_test, loss, tokens)
    _check_lengths("test", xt, yt)
    _check_test_data(x, y, xt, yt, loss)
    return Data(x, y, xt, yt, *owned(owner, len(x), owner_test, len(xt)), classes=classes)


def with_validation(data: Data, validation: Any, loss: str, tokens: bool) -> Data:
    """Check the arrays to validate on, and add them to the data.

    Args:
        data: training data, checked.
        validation: the user's samples and targets, (x, y).
        loss, tokens: as in `from_arrays`.

    Returns:
        The data with `x_val` and `y_val`.

    Raises:
        DataError: it is no pair, or it does not fit the training data.
    """
    if len(validation) != 2:
        raise DataError(
            "validation: expected a share of the training samples, such as 0.1, or two "
            f"arrays, (x, y), got {len(validation)} values"
        )
    x = checked_inputs("validation's x", validation[0], tokens)
    labels = validation[1]
    if data.classes is not None:
        labels = codes("validation's y", labels, data.classes)
    y = checked_targets("validation's y", labels, loss, tokens)
    if len(x) != len(y):
        raise DataError(
            f"validation: expected as many targets as samples, got {len(y)} and {len(x)}"
        )
    names = ("validation's x", "validation's y")
    _check_test_data(data.x_train, data.y_train, x, y, loss, names)
    return data._replace(x_val=x, y_val=y)


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


def checked_inputs(name: str, value: Any, tokens: bool) -> Any:
    """Check inputs, named `name` in errors; `tokens` as in `from_arrays`."""
    if isinstance(value, Parts):
        return Parts([checked_inputs(name, part, tokens) for part in value])
    x = checked_array(name, value)
    if tokens and x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim == 2:
        if x.size == 0:
            raise DataError(f"{name}: expected at least one token, got shape {x.shape}")
        advice = "number the tokens from 0, or pass other numbers as floats"
        return from_zero(name, x, "tokens", advice, keep=stays(name, x))
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{name}: expected shape (n, features), (n, height, width) or "
            f"(n, channels, height, width), got {x.shape}"
        )
    if x.ndim == 4 and x.shape[3] <= 4 < x.shape[1] and x.shape[3] < x.shape[2]:
        warn(
            f"{name}: shape {x.shape} is read as (n, channels, height, width); if the "
            f"channels come last, give layout='NHWC', or pass np.moveaxis({name}, -1, 1)"
        )
    if stays(name, x) and (x.dtype == np.uint8 or x.dtype.kind == "f"):
        return x
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise DataError(
            f"{name}: expected uint8 (images, scaled to 0..1) or floats, got "
            f"{x.dtype.name}{_as_floats(name, x)}"
        )
    # float64 is kept until the inputs are normalized
    return finite(name, x, np.float64 if x.dtype.itemsize >= 8 else np.float32)


def _as_floats(name: str, x: Array) -> str:
    """Say how to convert inputs that are neither bytes nor floats."""
    if x.dtype.kind == "b":
        return f"; convert with {name}.astype('float32')"
    if x.dtype.kind not in "iu":
        return ""
    low, high = x.min(), x.max()
    if low >= 0 and high <= 255:
        return (
            f" of {low} to {high}; for images convert with {name}.astype('uint8'), for "
            f"other numbers with {name}.astype('float32')"
        )
    floats = "float32" if max(abs(int(low)), abs(int(high))) <= 2**24 else "float64"
    images = ""
    if x.ndim > 2 and low >= 0:
        images = f"; {name}.astype('float32') / {np.iinfo(x.dtype).max} scales images"
        images = images if x.dtype.itemsize == 2 else ""
    return (
        f" of {low} to {high}; convert with {name}.astype('{floats}'), and let "
        f"normalise='federated' scale them{images}"
    )


def _check_lengths(part: str, x: Array | Parts, y: Array) -> None:
    if len(x) != len(y):
        raise DataError(
            f"y_{part}: expected {len(x)} targets, one for each sample of x_{part}, got "
            f"{len(y)}"
        )


def _check_test_data(
    x: Array | Parts,
    y: Array,
    xt: Array | Parts,
    yt: Array,
    loss: str,
    names: tuple[str, str] = ("x_test", "y_test"),
) -> None:
    """Check that the shapes, the type and the classes fit the training data."""
    for name, own, train, test in zip(names, "xy", (x, y), (xt, yt), strict=True):
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"{name}: expected samples of shape {train.shape[1:]} as in {own}_train, "
                f"got {test.shape[1:]}"
            )
    if x.dtype.kind != xt.dtype.kind:
        raise DataError(
            f"{names[0]}: expected {x.dtype.name} as in x_train, got {xt.dtype.name}; "
            "8-bit images are scaled to 0..1 and floats are not"
        )
    if loss == "cross_entropy" and yt.max() > y.max():
        raise DataError(
            f"{names[1]}: label {yt.max()} is outside the classes 0..{y.max()} of y_train"
        )

"""Arrays and .npz files from the user: what is taken, and clear errors for what isn't."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, FedFluxWarning

NAMES = ("x_train", "y_train", "x_test", "y_test", "owner_train")
MAX_BYTES = 16 * 2**30  # of an unpacked .npz file: a small zip can unpack to more than a machine holds

Array = NDArray[Any]


class Data(NamedTuple):
    """Training and test data, checked, in the order in which the core takes it.

    Attributes:
        x_train: inputs, uint8 (scaled to 0..1 later) or float32; (n, features), (n, height, width) or
            (n, channels, height, width), C-contiguous; or int64 tokens, (n, length).
        y_train: targets, int64 labels of shape (n,) or, of tokens, (n, length); or float32 of shape (n,) or
            (n, outputs).
        x_test, y_test: the same for the test data, or None where there is none.
        owner: whose each training sample is, int64 ids from 0 of shape (n,), or None where it isn't told.
    """

    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None
    owner: Array | None = None


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    owner: Any = None,
    *,
    loss: str,
    clients: int,
    tokens: bool = False,
) -> Data:
    """Check the user's arrays.

    Args:
        x_train, x_test: inputs, uint8 or floats, see `Data`.
        y_train, y_test: for `cross_entropy` integer labels from 0, (n,); for `binary_cross_entropy` 0 and 1, (n,) or
            (n, outputs); for `mse` numbers, (n,) or (n, outputs).
        owner: whose each training sample is, (n,): numbers or names, for the partition by owner.
        loss: name of the loss.
        clients: how many clients the training data is shared among.
        tokens: whether the inputs may be integers from 0, (n, length), and labels too; for models that begin with an
            embedding.

    Returns:
        The data, C-contiguous, in the types that the core takes.

    Raises:
        DataError: lengths, shapes or types that don't fit, NaN or infinity, labels outside the classes, fewer samples
            than clients.

    Example:
        >>> from_arrays([[0.0, 1.0]], [1], None, None, loss="cross_entropy", clients=1).x_train.dtype
        dtype('float32')
    """
    if x_train is None or y_train is None:
        raise DataError(f"{'x_train' if x_train is None else 'y_train'} is missing: give both x_train and y_train")
    if (x_test is None) != (y_test is None):
        raise DataError(
            f"{'x_test' if x_test is None else 'y_test'} is missing: give both x_test and y_test, or neither"
        )
    x, y = _inputs("x_train", x_train, tokens), _targets("y_train", y_train, loss, tokens)
    _same_length("x_train", x, "y_train", y)
    if clients > len(x):
        raise DataError(
            f"clients={clients} is more than the {len(x)} training samples: expected at most one client a sample"
        )
    owners = None if owner is None else _owners(owner, len(x))
    if x_test is None:
        return Data(x, y, None, None, owners)
    xt, yt = _inputs("x_test", x_test, tokens), _targets("y_test", y_test, loss, tokens)
    _same_length("x_test", xt, "y_test", yt)
    for name, train, test in (("x", x, xt), ("y", y, yt)):
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"{name}_test: a sample has shape {test.shape[1:]}, expected {train.shape[1:]} as in {name}_train"
            )
    if x.dtype != xt.dtype:
        raise DataError(
            f"x_test: expected {x.dtype.name} as in x_train, got {xt.dtype.name}; "
            "8-bit images are scaled to 0..1 and floats are not"
        )
    if loss == "cross_entropy" and yt.max() > y.max():
        raise DataError(f"y_test: label {yt.max()} is outside the classes 0..{y.max()} of y_train")
    return Data(x, y, xt, yt, owners)


def from_npz(path: str, loss: str, clients: int, tokens: bool = False) -> Data:
    """Load and check an .npz file with x_train, y_train, and where there are any x_test, y_test, owner_train.

    Args:
        path: of the file.
        loss, clients, tokens: as in `from_arrays`.

    Returns:
        The data.

    Raises:
        DataError: no such file, no such array, too large, arrays of Python objects, or what `from_arrays` refuses.

    Example:
        >>> from ._core import core_path
        >>> from_npz(str(core_path() / "data" / "digits.npz"), "cross_entropy", 10).x_train.shape
        (1437, 8, 8)
    """
    if not Path(path).is_file():
        raise DataError(f"dataset: no file {path!r} (looked in {os.getcwd()})")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_BYTES:
            raise DataError(f"{path}: unpacks to {size} bytes, more than the {MAX_BYTES} allowed; pass arrays instead")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in NAMES[:2] if name not in file.files]
            if missing:
                raise DataError(f"{path}: no array {missing[0]!r}, only {', '.join(file.files) or 'nothing'}")
            arrays = [_read(file, path, name) if name in file.files else None for name in NAMES]
    except DataError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds on a damaged file
        raise DataError(f"{path}: not a readable .npz file ({error})") from None
    try:
        return from_arrays(*arrays, loss=loss, clients=clients, tokens=tokens)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read(file: Any, path: str, name: str) -> Array:
    try:
        content = file[name]
    except ValueError as error:
        why = "it holds Python objects, which could run code when loaded" if "allow_pickle" in str(error) else error
        raise DataError(f"{path}: can't read {name}: {why}") from None
    if not isinstance(content, np.ndarray):  # NumPy hands out as bytes what is no .npy file inside
        raise DataError(f"{path}: can't read {name}: it is not an array")
    return content


def _array(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name}: can't be made an array: {error}") from None
    if array.dtype == object:
        raise DataError(f"{name}: expected numbers, got an array of Python objects")
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{name}: expected at least one sample, got shape {array.shape}")
    return array


def _inputs(name: str, value: Any, tokens: bool) -> Array:
    x = _array(name, value)
    if tokens and x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim == 2:
        if x.min() < 0:
            raise DataError(f"{name}: tokens count from 0, got {x.min()}")
        return np.ascontiguousarray(x, dtype=np.int64)
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{name}: expected shape (n, features), (n, height, width) or (n, channels, height, width), got {x.shape}"
        )
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] > 4:
        warnings.warn(
            f"{name}: shape {x.shape} is read as (n, channels, height, width); if the channels come last, "
            f"pass np.moveaxis({name}, -1, 1)",
            FedFluxWarning,
            stacklevel=2,
        )
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise DataError(
            f"{name}: expected uint8 (images, scaled to 0..1) or floats, got {x.dtype.name}; "
            f"convert with {name}.astype('uint8') or {name}.astype('float32')"
        )
    return _finite(name, x)


def _finite(name: str, values: Array) -> Array:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float32)
    good = np.isfinite(values)
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise DataError(
            f"{name}: expected finite numbers, got {values[place]} at {list(place)} ({(~good).sum()} in all)"
        )
    return values


def _targets(name: str, value: Any, loss: str, tokens: bool) -> Array:
    y = _array(name, value)
    if loss == "cross_entropy":
        return _labels(name, y, 2 if tokens else 1)
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise DataError(f"{name}: expected shape (n,) or (n, outputs), got {y.shape}")
    if y.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, got {y.dtype.name}")
    y = _finite(name, y)
    if loss == "binary_cross_entropy":
        wrong = y[(y != 0) & (y != 1)]
        if wrong.size:
            raise DataError(f"{name}: binary_cross_entropy expects labels 0 and 1, got {wrong[0]:g}")
        if y.ndim == 1:
            return y.astype(np.int64)
    return y


def _labels(name: str, y: Array, dimensions: int) -> Array:
    if not 1 <= y.ndim <= dimensions:
        raise DataError(f"{name}: expected integer labels of shape (n,), got {y.shape}")
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{name}: expected integer labels from 0, got {y.dtype.name}; convert with {name}.astype('int64')"
        )
    if y.min() < 0:
        raise DataError(f"{name}: labels count from 0, got {y.min()}")
    if y.max() >= 1_000_000:
        raise DataError(f"{name}: label {y.max()} would make {int(y.max()) + 1} classes; number the classes from 0")
    return np.ascontiguousarray(y, dtype=np.int64)


def _owners(value: Any, samples: int) -> Array:
    owner = _array("owner", value)
    if owner.shape != (samples,):
        raise DataError(f"owner: expected one for each of the {samples} training samples, got shape {owner.shape}")
    return np.unique(owner, return_inverse=True)[1].astype(np.int64).reshape(-1)


def _same_length(name_x: str, x: Array, name_y: str, y: Array) -> None:
    if len(x) != len(y):
        raise DataError(f"{name_y}: expected {len(x)} targets, one for each sample of {name_x}, got {len(y)}")

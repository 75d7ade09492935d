"""Data from .npz files."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError
from .arrays import Data, from_arrays
from .given import channels_first

NAMES = ("x_train", "y_train", "x_test", "y_test", "owner_train", "owner_test")
MAX_BYTES = 16 * 2**30  # of an unpacked file; a small one can unpack to more
MAX_RATIO = (
    200  # unpacked to packed, where the unpacked file is large: no data are so alike
)
LARGE = 2**30


def from_npz(
    path: str,
    loss: str,
    clients: int,
    tokens: bool = False,
    keep_labels: bool = True,
    keep_integers: bool = False,
    layout: str = "NCHW",
) -> Data:
    """Load and check an .npz file.

    Args:
        path: of a file with x_train, y_train and optionally x_test, y_test, owner_train,
            owner_test.
        loss, clients, tokens, keep_labels, keep_integers: as in `from_arrays`.
        layout: the axes of images, NCHW or NHWC.

    Returns:
        The data.

    Raises:
        DataError: no such file or array, a file that is too large, arrays of Python
            objects, or an error of `from_arrays`.

    Example:
        >>> np.savez("mine.npz", x_train=np.ones((6, 8, 8)), y_train=[0, 1, 2] * 2)
        >>> from_npz("mine.npz", "cross_entropy", 2).x_train.shape
        (6, 8, 8)
    """
    if not Path(path).is_file():
        raise DataError(f"dataset: no file {path!r} (current folder: {os.getcwd()})")
    try:
        arrays = _read_npz(path)
    except DataError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds
        raise DataError(f"{path}: not a readable .npz file ({error})") from None
    try:
        if layout == "NHWC":
            for i in (0, 2):
                arrays[i] = channels_first(NAMES[i], arrays[i])
        return from_arrays(
            *arrays,
            loss=loss,
            clients=clients,
            tokens=tokens,
            keep_labels=keep_labels,
            keep_integers=keep_integers,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_npz(path: str) -> list[Array | None]:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
        most = min(MAX_BYTES, max(LARGE, MAX_RATIO * Path(path).stat().st_size))
        if size > most:
            raise DataError(
                f"{path}: unpacks to {size} bytes, more than the {most} allowed; pass "
                "arrays instead"
            )
        for info in archive.infolist():
            if info.filename.removesuffix(".npy") in NAMES:
                _check_size(archive, info, path)
    with np.load(path, allow_pickle=False) as file:
        for name in NAMES[:2]:
            if name not in file.files:
                found = ", ".join(file.files) or "nothing"
                raise DataError(f"{path}: no array {name!r}, only {found}")
        return [_read_array(file, path, n) if n in file.files else None for n in NAMES]


def _check_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> None:
    """Refuse an array that announces more than it has: NumPy takes it at its word."""
    form = np.lib.format
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    try:
        with archive.open(info) as file:
            shape, _, dtype = readers[form.read_magic(file)](file)
            expected = file.tell() + math.prod(shape) * dtype.itemsize
    except (ValueError, KeyError):
        return  # NumPy says what is wrong with it
    if not dtype.hasobject and expected != info.file_size:
        raise DataError(
            f"{path}: can't read {info.filename}: it has {info.file_size} bytes, and shape "
            f"{shape} needs {expected}"
        )


def _read_array(file: Any, path: str, name: str) -> Array:
    try:
        content = file[name]
    except ValueError as error:
        reason = str(error)
        if "allow_pickle" in reason:
            reason = "it holds Python objects, which could run code when loaded"
        raise DataError(f"{path}: can't read {name}: {reason}") from None
    if not isinstance(content, np.ndarray):  # NumPy returns other content as bytes
        raise DataError(f"{path}: can't read {name}: it is not an array")
    return content

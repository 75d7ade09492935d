"""Memory-mapped arrays, which stay in their files: the core reads them batch by batch."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..errors import DataError, first_line, warn

NUMBERS = ("u1", "f2", "f4", "f8", "i2", "u2", "i4", "u4", "i8")


class Mapped(NamedTuple):
    """A mapped array as the core takes it.

    Attributes:
        array: the values, C-contiguous.
        axes: which axis of `array` each axis is, from 0, or None if they are the same.
    """

    array: Array
    axes: tuple[int, ...] | None


def is_mapped(value: Any) -> bool:
    """Whether an array's values lie in a memory-mapped file.

    Example:
        >>> is_mapped(np.zeros(3))
        False
    """
    while isinstance(value, np.ndarray | memoryview):
        value = value.base if isinstance(value, np.ndarray) else value.obj
    return isinstance(value, mmap.mmap)


def stays(name: str, x: Array) -> bool:
    """Whether an array is mapped and can stay where it is; else a mapped one is read whole.

    Args:
        name: names the array in a warning that it is read whole.
        x: any array.

    Example:
        >>> stays("x_train", np.zeros((3, 2)))
        False
    """
    if not is_mapped(x):
        return False
    if not x.dtype.isnative:
        why = "its bytes are in the order of another machine"
    elif x.dtype.str[1:] not in NUMBERS:
        return False  # the checks of types say what is wrong
    elif not x.transpose(_order(x)).flags.c_contiguous:
        why = "it is a slice with gaps"
    else:
        return True
    warn(
        f"{name} is memory-mapped, and is read into memory as a whole, since {why}; save "
        f"it with np.save(path, np.ascontiguousarray({name}, dtype={x.dtype.name!r}))"
    )
    return False


def mapped(x: Array) -> Mapped:
    """Return an array that stays where it is, with its axes in the order of its memory.

    Example:
        >>> mapped(np.zeros((2, 3, 4)).transpose(0, 2, 1)).axes
        (0, 2, 1)
    """
    if x.flags.c_contiguous:
        return Mapped(x, None)
    order = _order(x)
    return Mapped(x.transpose(order), tuple(order.index(axis) for axis in range(x.ndim)))


def _order(x: Array) -> list[int]:
    """Return the axes, the one whose neighbors lie farthest apart first."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def from_npy(name: str, value: Any) -> Any:
    """Map the .npy file of a path; anything else stays what it is.

    Args:
        name: names the argument in errors.
        value: a path, or anything.

    Returns:
        The array, whose values stay in the file.

    Raises:
        DataError: no such file, one that is damaged, or holds Python objects.

    Example:
        >>> np.save("mine.npy", np.ones((3, 2)))
        >>> from_npy("x_train", "mine.npy").shape
        (3, 2)
    """
    if not isinstance(value, str | os.PathLike):
        return value
    path = Path(os.fspath(value))
    if path.suffix.lower() != ".npy":
        return value
    if not path.is_file():
        raise DataError(f"{name}: no file {str(path)!r} (current folder: {os.getcwd()})")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds
        raise DataError(
            f"{name}: expected an array of numbers or texts in {str(path)!r}, and it can't "
            f"be read as .npy: {first_line(error)}"
        ) from None

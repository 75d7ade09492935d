"""What a user has, such as lists, tables or sparse matrices, as an array of one type."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError, shown

NUMBERS = "biuf"  # kinds of NumPy's types
MAX_CLASSES = 1_000_000


def checked_array(name: str, value: Any) -> Array:
    """Convert to an array of numbers or texts.

    Args:
        name: names the value in errors.
        value: an array, a list, a column or a table of numbers.

    Returns:
        The array, of at least one sample.

    Raises:
        DataError: what NumPy can't convert, masked or missing values, a sparse matrix, or a
            column of something else than numbers.

    Example:
        >>> checked_array("x_train", [[True, 0.5]])
        array([[1. , 0.5]])
    """
    if isinstance(value, np.ma.MaskedArray) and np.any(value.mask):
        raise DataError(
            f"{name}: expected an array without masked values, got {np.sum(value.mask)}; "
            f"fill them, as {name}.filled(0) does, or leave those samples out"
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise DataError(
            f"{name}: expected an array, got a sparse matrix; give {name}.toarray()"
        )
    if name.startswith("x") and _is_table(value):
        return _from_table(name, value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name}: can't be converted to an array: {error}") from None
    if array.dtype.kind in "OT":
        array = _without_objects(name, array)
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{name}: expected at least one sample, got shape {array.shape}")
    return array


def missing_label(name: str, value: Any) -> None:
    """Check that no label is missing, as None, NaN or pandas' marks of it.

    Raises:
        DataError: the first one that is, and how to leave those samples out.

    Example:
        >>> missing_label("y_train", ["a", "b"])
    """
    if isinstance(value, np.ma.MaskedArray):
        return
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return
    try:
        listed = np.asarray(value, dtype=object).ravel().tolist()
    except (ValueError, TypeError, RuntimeError):
        return  # checked_array says what is wrong
    texts = any(isinstance(v, str) for v in listed)
    missing = [i for i, v in enumerate(listed) if _is_missing(v)]
    if missing and (texts or dtype is not None):
        raise DataError(
            f"{name}: {len(missing)} labels are missing, the first at {missing[0]}; leave "
            "those samples out, of the inputs too"
        )


def _is_table(value: Any) -> bool:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    columns = getattr(value, "columns", None)
    if columns is None or not hasattr(value, "dtypes") or len(shape) != 2:
        return False
    return bool(len(columns) == shape[1]) and 0 not in shape


def _without_objects(name: str, array: Array) -> Array:
    """Convert Python objects to the type that they share, if all are numbers or texts."""
    objects = array.ravel().tolist()
    if all(isinstance(v, str) for v in objects):
        return array.astype(str)
    if all(isinstance(v, bool | int | float) for v in objects):
        numbers = np.array(objects)
        if numbers.dtype.kind in NUMBERS:
            return numbers.reshape(array.shape)
    odd = (i for i, v in enumerate(objects) if not isinstance(v, bool | int | float))
    i = next(odd, 0)  # the first of numbers that are too large for any type
    where = [int(k) for k in np.unravel_index(i, array.shape)]
    what = "a missing value" if _is_missing(objects[i]) else shown(objects[i], 40)
    raise DataError(
        f"{name}: expected numbers, got an array of Python objects, with {what} at {where}"
    )


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or one of pandas' marks of what is missing."""
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _from_table(name: str, table: Any) -> Array:
    """Convert a table, as of pandas or polars, whose columns are all numbers."""
    by_place = getattr(table, "iloc", None)
    columns = []
    for i, column in enumerate(table.columns):
        given = table[column] if by_place is None else by_place[:, i]
        if str(getattr(given, "dtype", "")) == "category":
            raise DataError(
                f"{name}: column {column!r} holds categories, such as "
                f"{str(np.asarray(given)[0])[:40]!r}; make columns of numbers of it, as "
                f"pandas.get_dummies({name}, dtype=float) does, or leave it out"
            )
        values = np.asarray(given)
        columns.append(_checked_column(f"{name}: column {column!r}", name, values))
    return np.column_stack(columns)


def _checked_column(where: str, name: str, values: Array) -> Array:
    if values.dtype.kind in NUMBERS:
        objects: list[Any] = []
        missing = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
    else:
        objects = values.tolist()
        missing = sum(1 for v in objects if _is_missing(v))
    if missing:
        raise DataError(
            f"{where} has {missing} missing values; fill them, as {name}.fillna(0) does, "
            "or leave those samples out"
        )
    if values.dtype.kind in NUMBERS:
        return values
    if values.dtype.kind in "mM":
        raise DataError(
            f"{where} holds dates or times ({values.dtype.name}); give numbers instead, "
            "such as the seconds since the first"
        )
    text = next((v for v in objects if isinstance(v, str)), None)
    if text is not None:
        raise DataError(
            f"{where} holds texts, such as {text[:40]!r}; make columns of numbers of it, "
            f"as pandas.get_dummies({name}, dtype=float) does, or leave it out"
        )
    numbers = np.array(objects)
    if numbers.dtype.kind not in NUMBERS or numbers.ndim != 1:
        odd = next(
            (v for v in objects if not isinstance(v, bool | int | float)), objects[0]
        )
        raise DataError(f"{where}: expected numbers, got {shown(odd, 40)}")
    return numbers


def finite(name: str, values: Array, dtype: Any = np.float32) -> Array:
    """Convert to floats, C-contiguous, and check that float32 can hold them.

    Example:
        >>> finite("x_train", np.arange(2))
        array([0., 1.], dtype=float32)
    """
    values = np.ascontiguousarray(values, dtype=dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        known = np.isfinite(values.astype(np.float32, copy=False))
    if not known.all():
        first = tuple(int(i) for i in np.argwhere(~known)[0])
        with np.errstate(over="ignore"):
            shown_first = np.float32(values[first])
        raise DataError(
            f"{name}: expected finite numbers, got {shown_first} at {list(first)} "
            f"({(~known).sum()} in all)"
        )
    return values


def from_zero(
    name: str, values: Array, what: str, advice: str, keep: bool = False
) -> Array:
    """Check that integers, named `what`, count from 0, and convert them to int64.

    With `keep` they stay as they are, where they are.

    Example:
        >>> from_zero("y_train", np.array([0, 2], "uint8"), "labels", "")
        array([0, 2])
    """
    if values.min() < 0:
        raise DataError(f"{name}: expected {what} from 0, got {values.min()}")
    if values.max() >= MAX_CLASSES:
        raise DataError(
            f"{name}: expected {what} below {MAX_CLASSES}, got {values.max()}; {advice}"
        )
    return values if keep else np.ascontiguousarray(values, dtype=np.int64)

"""What a function of the user's gets and gives: read-only arrays, checked answers."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Array
from ..errors import OptionError, shown


def read_only(array: Any) -> Array:
    """Return an array as a view that can't be written.

    Example:
        >>> read_only(np.zeros(2)).flags.writeable
        False
    """
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Add a note to an exception that the user's function raises: where it was called.

    Example:
        >>> try:
        ...     with named("aggregate f, round 3"):
        ...         1 / 0
        ... except ZeroDivisionError as error:
        ...     error.__notes__
        ['fedflux called it as aggregate f, round 3']
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"fedflux called it as {where}")
        if isinstance(error, ValueError) and "read-only" in str(error):
            error.add_note("its arguments are read-only: change a copy, as of a.copy()")
        raise


def vector(answer: Any, n: int, where: str) -> NDArray[np.float32]:
    """Check that an answer is a vector of n finite numbers, and return it as float32.

    Raises:
        OptionError: it is anything else.

    Example:
        >>> vector([1, 2], 2, "aggregate f")
        array([1., 2.], dtype=float32)
    """
    expected = f"{where}: expected a vector of {n} finite numbers, got"
    try:
        array = np.asarray(answer)
    except (TypeError, ValueError):  # such as lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        hint = "; does it return its result?" if answer is None else ""
        raise OptionError(f"{expected} {_kind(answer)}{hint}")
    if array.shape != (n,):
        raise OptionError(f"{expected} an array of shape {array.shape}")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise OptionError(
            f"{expected} {array[wrong[0]]} at {wrong[0]} ({wrong.size} of {n} are not "
            "finite as float32)"
        )
    return values


def _kind(answer: Any) -> str:
    if isinstance(answer, np.ndarray):
        return f"an array of {answer.dtype}"
    return shown(answer)


def integers(answer: Any, expected: str) -> NDArray[np.int64]:
    """Check that an answer is a list of integers, and return it as an array.

    Args:
        answer: the answer.
        expected: the beginning of the error's message.

    Raises:
        OptionError: it is anything else.

    Example:
        >>> integers([2, 1], "sampling f: expected clients")
        array([2, 1])
    """
    try:
        array = np.asarray(answer)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        of_array = array.ndim and array.dtype.kind != "O"
        came = f"an array of {array.dtype}, {array.shape}" if of_array else shown(answer)
        raise OptionError(f"{expected}, got {came}")
    return array.astype(np.int64)


def name_of(function: Any) -> str:
    """Return what a function is called in results and messages.

    Example:
        >>> name_of(np.median), name_of(lambda: 0)
        ('median', 'function')
    """
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else str(name)


def check_arguments(function: Any, names: Sequence[str], where: str) -> None:
    """Check that a function can be called with arguments of these names, by position.

    Raises:
        OptionError: it takes others.

    Example:
        >>> check_arguments(lambda u, w: u, ["updates", "weights"], "aggregate")
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of C, which tells nothing
        return
    try:
        signature.bind(*names)
    except TypeError:
        raise OptionError(
            f"{where}: expected a function of ({', '.join(names)}), got "
            f"{name_of(function)}{signature}"
        ) from None


def checked_function(value: Any, names: Sequence[str], where: str) -> Callable[..., Any]:
    """Check that a value is a function of arguments of these names, and return it.

    Raises:
        OptionError: it is a class, or takes other arguments.

    Example:
        >>> checked_function(np.median, ["updates", "weights"], "aggregate") is np.median
        True
    """
    if isinstance(value, type):
        name = value.__name__
        raise OptionError(
            f"{where}: expected an object, got the class {name}: use {name}()"
        )
    check_arguments(value, names, where)
    function: Callable[..., Any] = value
    return function

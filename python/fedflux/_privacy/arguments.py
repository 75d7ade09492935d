"""Arguments of functions that the core computes: types are checked here, bounds there."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from .._julia import calls
from ..errors import FedFluxError, JuliaUnavailable, OptionError


def facts(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a function of the core. What it refuses is an `OptionError`."""
    try:
        return calls.facts(function, arguments)
    except JuliaUnavailable:
        raise
    except FedFluxError as error:
        raise OptionError(str(error)) from None


def text(name: str, value: Any) -> str:
    """Return a text."""
    if isinstance(value, str):
        return value
    raise OptionError(f"{name}: expected a text, got {value!r}")


def integer(name: str, value: Any) -> int:
    """Return an integer."""
    if not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    raise OptionError(f"{name}: expected an integer, got {value!r}")


def number(name: str, value: Any) -> int | float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise OptionError(f"{name}: expected a finite number, got {value!r}")
    return int(value) if isinstance(value, Integral) else float(value)


def none_is_infinite(value: float | None) -> float:
    """Return the number that JSON holds, null for infinity."""
    return math.inf if value is None else float(value)

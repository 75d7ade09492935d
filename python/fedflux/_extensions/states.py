"""States of the user's objects: dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import OptionError, shown
from .checks import read_only

State = dict[str, Array]


def copied(state: Mapping[str, Any]) -> State:
    """Copy a state and its arrays, which its owner may then change.

    Example:
        >>> copied({"a": np.ones(1)})
        {'a': array([1.])}
    """
    return {name: np.array(array) for name, array in state.items()}


def fixed(state: Mapping[str, Any]) -> Mapping[str, Array]:
    """Return a state that can't be changed.

    Example:
        >>> fixed({"a": np.ones(1)})["a"].flags.writeable
        False
    """
    return MappingProxyType({name: read_only(array) for name, array in state.items()})


def checked(state: Any, where: str) -> State:
    """Check what the user's code left in a state, and return it as arrays.

    Raises:
        OptionError: it is no dict of arrays of numbers.

    Example:
        >>> checked({"steps": 3}, "rule R")
        {'steps': array(3)}
    """
    if not isinstance(state, Mapping):
        raise OptionError(
            f"{where}: expected a dict of arrays as state, got {shown(state)}"
        )
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise OptionError(
                f"{where}: expected a text as a state's name, got {shown(name)}"
            )
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            array = np.asarray(None)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise OptionError(
                f"{where}: expected an array of numbers as state {name!r}, got "
                f"{shown(value)}"
            )
        arrays[name] = array
    return arrays

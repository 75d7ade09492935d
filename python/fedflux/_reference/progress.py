"""Where a run of the reference engine begins: anew, or where a result ended."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .._data.arrays import Data
from .._extensions.states import State
from .._typing import Array, Record


@dataclass
class Progress:
    """Where a run begins.

    Attributes:
        params: in model order, or None to draw them.
        history: the records of the rounds before.
        seconds: the time that they took.
        checksum: of the data of those rounds, or None.
        best: the round of the best model and its parameters, or None.
        aggregator_state: what an aggregator of the user's keeps.
    """

    params: Sequence[Array] | None = None
    history: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    checksum: int | None = None
    best: tuple[int, list[Array]] | None = None
    aggregator_state: State = field(default_factory=dict)


def checksum(data: Data) -> int:
    """Compute the CRC-32 of the data.

    Example:
        >>> checksum(Data(np.zeros(1), np.zeros(1), None, None))
        1696784233
    """
    value = 0
    for given in data[:6]:
        array = None if given is None else np.asarray(given)
        if array is not None and array.dtype == np.float64:
            array = array.astype(np.float32)  # as before float64 was kept
        if array is not None:
            value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return value

"""Samples in several arrays, such as one for each client, that stay where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._typing import Array


class Parts:
    """Samples of several arrays, one after the other, without a copy of the whole.

    Args:
        arrays: of one type and one shape of a sample.

    Example:
        >>> parts = Parts([np.zeros((2, 3)), np.ones((1, 3))])
        >>> parts.shape, len(parts), np.asarray(parts).tolist()[2]
        ((3, 3), 3, [1.0, 1.0, 1.0])
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = list(arrays)
        first = self.arrays[0]
        self.dtype, self.ndim = first.dtype, first.ndim
        self.shape = (sum(map(len, self.arrays)), *first.shape[1:])

    def __len__(self) -> int:
        """Count the samples."""
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Array]:
        """Go over the arrays."""
        return iter(self.arrays)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Join the arrays, for whoever needs one."""
        joined = np.concatenate(self.arrays)
        return joined if dtype is None else joined.astype(dtype, copy=False)

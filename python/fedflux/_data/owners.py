"""The owners of samples: their names as the user gave them, and numbers for the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError
from .conversion import checked_array

Owned = tuple[Array | None, Array | None, Array | None]


def owned(owner: Any, samples: int, owner_test: Any = None, test_samples: int = 0) -> Owned:
    """Number the owners.

    Args:
        owner: of each training sample, numbers or names, or None.
        samples: the number of training samples.
        owner_test, test_samples: the same for the test samples.

    Returns:
        The number of each training sample's owner, from 0; the same for the test samples,
        -1 for an owner without training samples; the names, in the order of the numbers.

    Raises:
        DataError: there is not one owner for each sample.

    Example:
        >>> owner, owner_test, names = owned(["b", "a"], 2, ["b", "c"], 2)
        >>> owner.tolist(), owner_test.tolist(), names.tolist()
        ([1, 0], [1, -1], ['a', 'b'])
    """
    if owner is None:
        return None, None, None
    given = _listed("owner", owner, samples, "training")
    names, numbers = np.unique(given, return_inverse=True)
    numbers = numbers.astype(np.int64).reshape(-1)
    if owner_test is None:
        return numbers, None, names
    known = {name: i for i, name in enumerate(names.tolist())}
    tested = _listed("owner_test", owner_test, test_samples, "test").tolist()
    return numbers, np.array([known.get(t, -1) for t in tested], np.int64), names


def names_of(owners: Array) -> list[Any]:
    """Return the names as JSON can hold them: numbers and texts as they are.

    Example:
        >>> names_of(np.array([3, 7])), names_of(np.array(["2024-01"], "datetime64[M]"))
        ([3, 7], ['2024-01'])
    """
    names = owners if owners.dtype.kind in "biufU" else owners.astype(str)
    listed: list[Any] = names.tolist()
    return listed


def _listed(name: str, value: Any, samples: int, part: str) -> Array:
    owner = checked_array(name, value)
    if owner.shape != (samples,):
        raise DataError(
            f"{name}: expected one for each of the {samples} {part} samples, got shape "
            f"{owner.shape}"
        )
    return owner

"""PyTorch's tensors and data sets, by what they can do: PyTorch is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError, first_line, shown


def as_numpy(value: Any) -> Any:
    """Return a tensor as an array, without a copy if it is in main memory.

    Anything else stays what it is.

    Example:
        >>> as_numpy([1, 2])
        [1, 2]
    """
    if all(hasattr(value, name) for name in ("detach", "cpu", "numpy", "requires_grad")):
        return value.detach().cpu().numpy()
    return value


def is_dataset(value: Any) -> bool:
    """Whether a value is a data set of pairs, such as a torch.utils.data.Dataset.

    Example:
        >>> is_dataset(np.zeros(3)), is_dataset([(1, 2)])
        (False, False)
    """
    has_items = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    table = any(hasattr(value, name) for name in ("__array__", "columns", "keys", "dtype"))
    return has_items and not table and not isinstance(value, list | tuple | str | bytes)


def samples_of(name: str, dataset: Any) -> tuple[Array, Array]:
    """Read all pairs of a data set, each a sample and its target.

    Args:
        name: names the data set in errors.
        dataset: what gives `(x, y)` for each index below its length.

    Returns:
        The samples and the targets.

    Raises:
        DataError: no items, items that are not pairs, or samples of several shapes.

    Example:
        >>> class Two:
        ...     def __len__(self):
        ...         return 2
        ...
        ...     def __getitem__(self, i):
        ...         return [float(i), 1.0], i
        >>> samples_of("x_train", Two())[1].tolist()
        [0, 1]
    """
    n = len(dataset)
    if n == 0:
        raise DataError(f"{name}: expected at least one sample, got an empty data set")
    x: Array | None = None
    targets = []
    for i in range(n):
        pair = dataset[i]
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise DataError(
                f"{name}: expected (x, y) for each index, got {shown(pair, 40)} at {i}"
            )
        sample = np.asarray(as_numpy(pair[0]))
        if x is None:
            x = np.empty((n, *sample.shape), sample.dtype)
        if sample.shape != x.shape[1:]:
            raise DataError(
                f"{name}: expected samples of one shape, got {sample.shape} at {i} and "
                f"{x.shape[1:]} before; give the data set a transform that resizes them"
            )
        try:
            x[i] = sample
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: sample {i}: {first_line(error)}") from None
        targets.append(np.asarray(as_numpy(pair[1])))
    assert x is not None
    return x, np.array(targets)

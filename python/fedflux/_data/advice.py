"""What trains badly though it is not wrong: inputs far from 1, classes without samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._typing import Array
from .mapped import is_mapped
from .parts import Parts

SAMPLES = 100  # of a mapped array that are looked at
LARGE = 1000.0  # the size of inputs from which plain SGD at the usual rates hardly learns


def of_inputs(x: Array | Parts, columns: Sequence[Any] | None = None) -> Iterator[str]:
    """Say which inputs are so large that training suffers.

    Args:
        x: training inputs, checked, that the run does not normalise.
        columns: the names of the features, or None.

    Yields:
        A message, or none.

    Example:
        >>> list(of_inputs(np.array([[0.5, 5e4], [0.1, 7e4]])))[0]
        "x_train: feature 1 has values around 61,000: train with normalise='federated'"
    """
    if isinstance(x, Parts):  # the first with large inputs speaks for all
        yield from next(filter(None, (list(of_inputs(a, columns)) for a in x)), ())
        return
    if is_mapped(x):
        x = x[:SAMPLES]  # a look at the whole would read the whole file
    if x.dtype.kind != "f" or max(x.max(), -x.min()) < LARGE:
        return
    each = (0,) if x.ndim == 2 else (0, 2, 3) if x.ndim == 4 else (0, 1, 2)
    sizes = np.atleast_1d(np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=each)))
    i = int(sizes.argmax())
    if sizes[i] < LARGE:
        return
    where = "the images have"
    if x.ndim == 2:
        named = columns is not None and len(columns) == len(sizes)
        where = f"column {columns[i]!r} has" if named and columns else f"feature {i} has"
    yield (
        f"x_train: {where} values around {float(f'{sizes[i]:.2g}'):,.0f}: train with "
        "normalise='federated'"
    )


def of_labels(y: Array) -> Iterator[str]:
    """Say that classes have no samples, if it seems that labels don't count from 0.

    Args:
        y: the training labels, int64 from 0.

    Yields:
        A message, or none.

    Example:
        >>> list(of_labels(np.array([1, 2, 3])))[0][:55]
        'y_train: the labels begin at 1, so that the model has a'
    """
    held = np.unique(y)
    classes = int(held[-1]) + 1
    few = 2 * len(held) <= classes
    if held[0] == 0 and not few:
        return
    what = f"are {len(held)} of 0 to {held[-1]}" if few else f"begin at {held[0]}"
    yield (
        f"y_train: the labels {what}, so that the model has an output for classes that "
        "nobody has; number the classes from 0: names, y_train = np.unique(y_train, "
        "return_inverse=True)"
    )

"""Data as people have it, turned into what the checks of arrays take."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import DataError, OptionError, shown
from .by_client import Given, is_data, joined
from .conversion import checked_array
from .mapped import from_npy
from .parts import Parts
from .tables import named_columns
from .torch_data import as_numpy, is_dataset, samples_of

LAYOUTS = ("NCHW", "NHWC")


def prepared(given: Given, clients: Any, layout: str) -> tuple[Given, list[Any] | None]:
    """Turn the user's data into arrays, tables and lists of samples and targets.

    Args:
        given: arrays, tables, names of columns, paths of tables, tensors or data sets.
        clients: the clients' own data, or anything else.
        layout: the axes of images, NCHW or NHWC.

    Returns:
        The data, images with the channels first; and the names of the clients, if they
        brought it.

    Raises:
        DataError: what doesn't fit, see `joined`, `named_columns` and `samples_of`.
        OptionError: an unknown layout, or both clients' data and other arrays.

    Example:
        >>> images = np.zeros((2, 8, 8, 3))
        >>> prepared(Given(images, [0, 1]), 10, "NHWC")[0].x_train.shape
        (2, 3, 8, 8)
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout: expected NCHW or NHWC, got {shown(layout)}")
    names = None
    if is_data(clients):
        for name, value in given._asdict().items():
            if value is not None:
                raise OptionError(
                    f"{name} and the data of clients were both given: expected one of them"
                )
        given, names = joined(clients)
    else:
        given = Given(**{name: from_npy(name, v) for name, v in given._asdict().items()})
        given = named_columns(_without_datasets(given))
    if layout == "NHWC":
        given = given._replace(
            x_train=channels_first("x_train", given.x_train),
            x_test=channels_first("x_test", given.x_test),
        )
    return given, names


def channels_first(name: str, x: Any) -> Any:
    """Move the channels of images (n, height, width, channels) before their sizes.

    Args:
        name: names the images in errors.
        x: images, or None.

    Raises:
        DataError: no images of this shape.

    Example:
        >>> channels_first("x", np.zeros((5, 8, 6, 3))).shape
        (5, 3, 8, 6)
    """
    if x is None:
        return None
    if isinstance(x, Parts):
        return Parts([channels_first(name, a) for a in x])
    array: Array = checked_array(name, x)
    if array.ndim != 4:
        raise DataError(
            f"{name}: expected images of shape (n, height, width, channels), by layout "
            f"NHWC, got {array.shape}"
        )
    return np.moveaxis(array, -1, 1)


def _without_datasets(given: Given) -> Given:
    """Return the data with arrays in place of data sets and tensors."""
    values = given._asdict()
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        if is_dataset(values[x]):
            if values[y] is not None:
                raise DataError(
                    f"{x}: a data set of (x, y) pairs has its own targets: leave {y} out, "
                    f"or give {x} as an array"
                )
            values[x], values[y] = samples_of(x, values[x])
    return Given(**{name: as_numpy(value) for name, value in values.items()})

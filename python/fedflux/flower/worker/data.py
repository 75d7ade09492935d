"""The server's own data, checked, and as bytes for its worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._data.arrays import from_arrays
from ..._options.models import takes_tokens
from ...errors import DataError

# of each array its type and shape, or None if there is none; and the arrays' bytes
Kinds = list[dict[str, Any] | None]
Arrays = tuple[Kinds, list[bytes]]


def checked_test_data(
    load_data: Callable[[Any], Any] | None, context: Any, options: dict[str, Any]
) -> Arrays | None:
    """Load the server's data and check it.

    Args:
        load_data: see `server_app`.
        context: Flower's.
        options: every option.

    Returns:
        The arrays x_test, y_test, x_root and y_root for the worker, or None.

    Raises:
        DataError: the function returned something else, or the arrays don't fit.
    """
    if load_data is None:
        return None
    loaded = load_data(context)
    name = getattr(load_data, "__name__", "load_data")
    if not isinstance(loaded, tuple | list) or len(loaded) not in (2, 4):
        raise DataError(
            f"{name}: expected (x_test, y_test) or (x_test, y_test, x_root, y_root), got "
            f"{type(loaded).__name__}"
        )
    x, y, *test = loaded if len(loaded) == 2 else (*loaded[2:], *loaded[:2])
    found = from_arrays(
        x,
        y,
        *(test or (None, None)),
        loss=options["loss"],
        clients=1,
        tokens=takes_tokens(options["model"]),
    )
    own = [found.x_train, found.y_train]
    arrays = own if not test else [found.x_test, found.y_test, *own]
    kinds: Kinds = [
        None if a is None else {"dtype": a.dtype.str, "shape": a.shape} for a in arrays
    ]
    return kinds, [b"" if a is None else np.ascontiguousarray(a).tobytes() for a in arrays]

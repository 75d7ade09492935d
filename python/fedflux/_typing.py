"""The names of types that several modules use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Named = dict[str, Floats]  # parameters by name, in model order
Options = dict[str, Any]  # the values of options, by name
Points = Sequence[tuple[float, float]]
Record = dict[str, Any]  # of a round, as the history holds it


class TorchModule(Protocol):
    """A PyTorch module, for type checkers, with PyTorch or without it."""

    def state_dict(self) -> Any:
        """Return its parameters and buffers by name."""

    def named_modules(self) -> Any:
        """Yield its parts by name."""

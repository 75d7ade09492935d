"""The global model after one round of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .predict import Predictor

FIGURES = ("round", "monitor", "value", "loss", "accuracy", "params_sha256")


@dataclass
class Snapshot(Predictor):
    """The global model after a round: `Result.best`, or what a callback is given.

    Attributes:
        round: the round that it was the model after.
        monitor: the criterion of the run, see the option monitor.
        value: its figure in this round, or None.
        loss, accuracy: on the test data; None if they were not measured.
        params_sha256: SHA-256 of the parameters' bytes, in model order.
        parameters: float32 arrays by name, in model order.
        statistics: what is sent untrained, such as BatchNorm's running means, by name.

    Example:
        >>> import fedflux
        >>> result = fedflux.run(
        ...     dataset="digits", model="mlp", rounds=2, engine="reference"
        ... )
        >>> result.best.round, result.best.parameters.keys() == result.parameters.keys()
        (2, True)
    """

    round: int
    monitor: str
    value: float | None
    loss: float | None
    accuracy: float | None
    params_sha256: str
    parameters: dict[str, NDArray[np.float32]] = field(repr=False)
    statistics: dict[str, NDArray[np.float32]] = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    details: dict[str, Any] = field(repr=False)
    state: Any = field(default=None, repr=False, compare=False)
    module: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no state of the core."""
        return self.__dict__ | {"state": None}

    def figures(self) -> dict[str, Any]:
        """Return what can be said in numbers, ready for JSON."""
        return {name: getattr(self, name) for name in FIGURES}


def best_of(
    result: Predictor,
    facts: Mapping[str, Any] | None,
    arrays: Mapping[str, NDArray[np.float32]],
) -> Snapshot | None:
    """Make the best model of a result.

    Args:
        result: the result, with its own arrays.
        facts: what is said of the best model; None if there is none.
        arrays: those of the best model, with names below `best/`, if it is another.
    """
    if facts is None:
        return None
    parameters, statistics = result.parameters, result.statistics
    if facts["apart"]:
        parameters = {name: arrays[f"best/{name}"] for name in parameters}
        statistics = {name: arrays[f"best/{name}"] for name in statistics}
    return Snapshot(
        **{name: facts[name] for name in FIGURES},
        parameters=parameters,
        statistics=statistics,
        options=result.options,
        details=result.details,
    )

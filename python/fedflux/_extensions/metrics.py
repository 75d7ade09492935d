"""Metrics of the user's own, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._options.options import declared
from .._typing import Array
from ..errors import OptionError, shown
from .checks import checked_function, named, read_only

Function = Callable[[Any, Any], Any]
Given = Mapping[str, Function | str]

# The names of the second argument of a function that takes probabilities.
PROBABILITIES = ("probabilities", "y_score", "y_prob", "y_proba")
# What a record of the history has by itself.
TAKEN = (
    *("loss", "accuracy", "round", "train_loss", "test_loss", "client_accuracy"),
    *("personal_accuracy", "clients", "seconds_train", "seconds_aggregate", "seconds_eval"),
    *("bytes_up", "bytes_down", "rejected", "dropped", "skipped", "seconds_simulated"),
    *("epsilon", "membership", "aggregation", "cohort", "validation_loss"),
    *("validation_accuracy", "metric", "metrics"),
)


@dataclass(frozen=True)
class Metric:
    """A function of the labels and the predictions.

    Attributes:
        name: in the history.
        function: the function, or the name of a metric that fedflux has.
    """

    name: str
    function: Function | str

    @property
    def of_probabilities(self) -> bool:
        """Whether the function takes probabilities in place of predictions.

        Example:
            >>> Metric("auc", lambda y_true, y_score: 0.5).of_probabilities
            True
        """
        if isinstance(self.function, str):
            return False
        try:
            names = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):  # of C, which tells nothing
            return False
        return len(names) > 1 and names[1] in PROBABILITIES

    def measure(
        self,
        labels: Array,
        answers: Array,
        round: int,
        classes: Sequence[Any] | None = None,
    ) -> float:
        """Call the function.

        Args:
            labels: (n,), or the shape of the targets.
            answers: predictions of the same shape, or probabilities, (n, ..., classes).
            round: its number, from 1.
            classes: the labels as the user gave them, in the order of their numbers; None
                if they are the numbers.

        Returns:
            The figure; NaN and infinity are allowed.

        Raises:
            OptionError: the answer is no number.

        Example:
            >>> Metric("hits", lambda y, p: (y == p).sum()).measure([1, 0], [1, 1], 3)
            1.0
        """
        where = f"metric {self.name}, round {round}"
        assert callable(self.function)
        if classes is not None:
            labels = np.asarray(classes)[labels]
            answers = answers if self.of_probabilities else np.asarray(classes)[answers]
        with named(where):
            answer = self.function(read_only(labels), read_only(answers))
        try:
            value = np.asarray(answer)
        except (TypeError, ValueError):
            value = np.asarray(None)
        if value.ndim or value.dtype.kind not in "fiu":
            of_array = value.ndim > 0 and value.dtype.kind != "O"
            came = (
                f"an array of {value.dtype}, {value.shape}" if of_array else shown(answer)
            )
            hint = "; does it return its result?" if answer is None else ""
            raise OptionError(f"{where}: expected a number, got {came}{hint}")
        return float(value)


@dataclass(frozen=True)
class Metrics:
    """The metrics of a run.

    Attributes:
        metrics: in the order in which they are given.
        classes: see `Metric.measure`.
    """

    metrics: tuple[Metric, ...]
    classes: Sequence[Any] | None = None

    @property
    def name(self) -> list[str]:
        """Their names: what results call them."""
        return [m.name for m in self.metrics]


def metrics(given: Mapping[Any, Any]) -> Metrics:
    """Check the metrics that a user gives.

    Args:
        given: functions by name; a text is the name of one that fedflux has.

    Raises:
        OptionError: a value is neither, or a name is none, or one of the history's own.

    Example:
        >>> metrics({"hits": lambda labels, predictions: 0}).name
        ['hits']
    """
    checked = []
    known = declared()["metrics"].choices
    for name, f in given.items():
        if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
            raise OptionError(
                "metrics: expected names of letters, digits and underscores, got "
                f"{shown(name)}"
            )
        if name in TAKEN:
            raise OptionError(
                f"metrics: {name} is a figure that the history has by itself; give yours "
                "another name"
            )
        where = f"metric {name}"
        if isinstance(f, str) and f not in known:
            raise OptionError(
                f"{where}: expected a function or one of {', '.join(known)}, got {shown(f)}"
            )
        if not isinstance(f, str):
            if not callable(f):
                raise OptionError(f"{where}: expected a function, got {shown(f)}")
            f = checked_function(f, ("labels", "predictions"), where)
        checked.append(Metric(name, f))
    return Metrics(tuple(checked))

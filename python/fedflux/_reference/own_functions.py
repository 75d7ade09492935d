"""What the user's own functions decide in a run of the reference engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extensions.aggregator import aggregated
from .._extensions.metrics import Metrics
from .._extensions.states import State
from .._options.target_metric import target
from .._typing import Array
from ..errors import OptionError
from . import training as ref
from .random_streams import COHORT, PARTITION, first_word


class OwnFunctions:
    """The user's own functions, and what the engine does in the place of those not given.

    Args:
        own: objects by option, of `_extensions`.
        options: every option, checked.
        state: what the aggregator keeps.

    Raises:
        OptionError: `target_metric` names a metric that is not there.
    """

    def __init__(
        self, own: Mapping[str, Any], options: Mapping[str, Any], state: State
    ) -> None:
        self.own, self.options, self.state = own, options, state
        self.metrics: Metrics = own.get("metrics", Metrics(()))
        for m in self.metrics.metrics:
            if isinstance(m.function, str):
                raise OptionError(
                    f"metrics: {m.function} of fedflux's own needs the Julia core; give a "
                    "function"
                )
        text = options["target_metric"]
        self.target = None if text is None else target(text)
        known = ["loss", "accuracy", *self.metrics.name]
        if self.target is not None and self.target.name not in known:
            raise OptionError(
                f"target_metric={text!r} needs the Julia core, or a metric of yours "
                f"with this name; the reference engine has {', '.join(known)}"
            )

    @property
    def min_clients(self) -> int:
        """The fewest updates that the aggregator takes."""
        own = self.own.get("aggregate")
        return 0 if own is None else int(own.min_clients)

    def split(self, labels: Array) -> list[NDArray[np.int64]]:
        """Split the samples among the clients."""
        clients, seed = self.options["clients"], self.options["seed"]
        if "partition" not in self.own:
            return ref.iid(len(labels), clients, seed)
        parts: list[NDArray[np.int64]]
        word = first_word(seed, PARTITION)
        parts = self.own["partition"].split(labels, clients, word)
        return parts

    def cohort(self, number: int) -> list[int]:
        """Draw the clients of a round, from 1."""
        clients, seed = self.options["clients"], self.options["seed"]
        if "sampling" not in self.own:
            return ref.cohort(clients, self.options["clients_per_round"], seed, number)
        word = first_word(seed, COHORT, number)
        chosen: list[int]
        chosen = self.own["sampling"].choose(number, range(1, clients + 1), word).tolist()
        return chosen

    def combine(
        self,
        start: list[Array],
        trained: list[list[Array]],
        weights: list[float],
        number: int,
    ) -> list[Array]:
        """Return the parameters after a step by the aggregate of the clients' updates."""
        own = self.own.get("aggregate")
        if own is None:
            return ref.average(start, trained, weights)
        flat = np.concatenate([a.ravel() for a in start])
        updates = np.stack([np.concatenate([a.ravel() for a in w]) for w in trained])
        updates -= flat
        step, kept = aggregated(own, updates, np.array(weights), self.state, number)
        self.state = kept
        ends = np.cumsum([a.size for a in start])[:-1]
        moved = np.split(flat + step, ends)
        return [v.reshape(a.shape) for v, a in zip(moved, start, strict=True)]

    def measured(
        self, model: Any, params: Sequence[Array], x: Array, y: Array, number: int
    ) -> dict[str, float]:
        """Measure the metrics of a model after a round."""
        if not self.metrics.metrics:
            return {}
        loss, figures = self.options["loss"], {}
        out = ref.outputs(model, params, x)
        for m in self.metrics.metrics:
            seen = ref.probabilities if m.of_probabilities else ref.predictions
            answers = seen(out, loss, y.ndim)
            figures[m.name] = m.measure(y, answers, number, self.metrics.classes)
        return figures

    def unmeasured(self) -> dict[str, None]:
        """Return what the record of a round without evaluation says of the metrics."""
        return dict.fromkeys(self.metrics.name)

    def value(self, name: str, record: Mapping[str, Any]) -> float | None:
        """Return the record's figure of this name: a loss, an accuracy or a metric."""
        metrics = record.get("metrics", {})
        if name in metrics:
            figure: float | None = metrics[name]
            return figure
        found: float | None = record["test_loss" if name == "loss" else name]
        return found

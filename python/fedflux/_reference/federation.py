"""The rounds of the reference engine: training, aggregation, evaluation, stopping."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._data import contract
from .._data.arrays import Data
from .._data.parts import Parts
from .._typing import Array, Record
from ..errors import DataError, OptionError
from . import training as ref
from .clients import hold_out
from .losses import outputs_and_classes, with_class_weights
from .models import Model
from .own_functions import OwnFunctions
from .progress import Progress
from .supported import check_supported


class EventHandler(Protocol):
    """Handles the events of a run."""

    def __call__(self, kind: str, payload: Any) -> bool:
        """Handle an event; return whether to stop after this round.

        Args:
            kind: "start", "warning" or "round".
            payload: the facts of the run, the message, or the record of the round.
        """


OnModel = Callable[[Record, list[Array], None], None]

# The figures of which less is better, by name.
LESS = ("loss", "perplexity", "mae", "mse")


class Run:
    """One run of the reference engine.

    Args:
        options: every option, checked.
        data: training and test data, checked.
        progress: where the run begins.
        own: objects of the user's own by option, of `_extensions`.

    Raises:
        OptionError: an option that only the core supports, or a model that does not take
            the data.
        DataError: initial parameters that don't fit the model.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        data: Data,
        progress: Progress,
        own: Mapping[str, Any],
    ) -> None:
        self.own = OwnFunctions(own, options, progress.aggregator_state)
        check_supported(options, {"metrics": self.own.metrics.name})
        self.options = options
        outputs, self.classes = outputs_and_classes(options["loss"], data)
        sample = data.x_train.shape[1:]
        self.model = Model(options["model"], sample, outputs, options["hidden"])
        self.x, self.y = self._images(data.x_train), data.y_train
        self.xt = None if data.x_test is None else self._images(data.x_test)
        self.yt = data.y_test
        if self.own.metrics.metrics and self.xt is None:
            names = ", ".join(self.own.metrics.name)
            raise OptionError(f"metrics: expected test data to measure {names} on")
        parts = self.own.split(self.y)
        share = options["client_test"]
        self.parts, self.own_tests = hold_out(parts, share, options["seed"])
        if progress.params is None:
            self.params = ref.initial(self.model, options["seed"])
        else:
            self.params = self._checked(progress.params)
        self.history = progress.history
        self.earlier = progress.seconds
        self.best, self.since_best = progress.best, 0
        self.best_figure: float | None = None
        self._monitor: str = options["monitor"]
        for record in self.history:
            self._compare(record)
        if self.classes:
            counts = (np.bincount(self.y[p], minlength=self.classes) for p in self.parts)
            self.counts = np.stack(list(counts))
        self.options = with_class_weights(options, outputs, self.y, self.parts)

    def _images(self, x: Array | Parts) -> Array:
        x = contract.scaled(self.options, np.asarray(x))
        return x[:, None] if x.ndim == 3 else x

    def _checked(self, init: Sequence[Array]) -> list[Array]:
        expected, got = list(self.model.shapes.values()), [a.shape for a in init]
        if expected != got:
            raise DataError(
                f"init: expected arrays of shapes {expected} for {self.options['model']}, "
                f"got {got}"
            )
        return [np.array(a, np.float32) for a in init]

    def round(self, number: int) -> Record:
        """Train one round and return its record, without an evaluation."""
        began = time.perf_counter()
        cohort = self.own.cohort(number)
        trained, weights, loss, seen = [], [], 0.0, 0
        rejected: list[Record] = []
        for k in cohort:
            part = self.parts[k - 1]
            w, total, count = ref.train_client(
                self.model, self.params, self.x, self.y, part, self.options, number, k
            )
            if not _all_finite(w):
                rejected.append({"client": k, "reason": "holds NaN or Inf"})
                continue
            trained.append(w)
            by_samples = self.options["weights"] == "samples"
            weights.append(float(len(part)) if by_samples else 1.0)
            loss, seen = loss + total, seen + count
        trained_at = time.perf_counter()
        skipped = self._aggregate(trained, weights, number)
        bytes_sent = len(cohort) * sum(a.nbytes for a in self.params)
        record: Record = {
            "round": number,
            "train_loss": loss / seen if seen else None,
            "test_loss": None,
            "accuracy": None,
            "client_accuracy": None,
            "personal_accuracy": None,
            "clients": len(trained),
            "seconds_train": trained_at - began,
            "seconds_aggregate": time.perf_counter() - trained_at,
            "seconds_eval": 0.0,
            "bytes_up": bytes_sent,
            "bytes_down": bytes_sent,
            "rejected": rejected,
            "dropped": [],
            "skipped": skipped,
            "seconds_simulated": None,
            "epsilon": None,
            "membership": None,
            "aggregation": {},
            "cohort": cohort,
            "validation_loss": None,
            "validation_accuracy": None,
            "metric": None,
        }
        metrics = self.own.unmeasured()
        return record | {"metrics": metrics} if metrics else record

    def _aggregate(
        self, trained: list[list[Array]], weights: list[float], number: int
    ) -> str | None:
        """Average the clients' parameters; return why the round is skipped, or None."""
        needed = self.own.min_clients
        if len(trained) < needed:
            return f"{len(trained)} updates came, and {needed} are needed"
        if trained:
            params = self.own.combine(self.params, trained, weights, number)
            if _all_finite(params):
                self.params = params
                return None
        return "no finite update came"

    def evaluate(self, record: Record) -> None:
        """Evaluate the model on the test data, and add the results to a record."""
        if self.xt is None or self.yt is None:
            return
        began = time.perf_counter()
        loss, record["accuracy"], by_class = ref.evaluate(
            self.model, self.params, self.xt, self.yt, self.options, self.classes
        )
        record["test_loss"] = loss
        if by_class is not None:
            record["client_accuracy"] = ref.spread(by_class, self.counts)
        metrics = self.own.measured(
            self.model, self.params, self.xt, self.yt, record["round"]
        )
        if metrics:
            record["metrics"] = metrics
            record["metric"] = metrics.get(self._monitor)
        record["seconds_eval"] = time.perf_counter() - began
        if self._compare(record):
            self.best = (record["round"], list(self.params))

    def on_train(self, samples: NDArray[np.int64]) -> tuple[float, float | None]:
        """Compute the loss and the accuracy on samples of the training data."""
        x, y, options = self.x[samples], self.y[samples], self.options
        return ref.evaluate(self.model, self.params, x, y, options, self.classes)[:2]

    def _compare(self, record: Record) -> bool:
        """Count the evaluations since the best one; return whether this is the best."""
        monitor = self._monitor
        value = self.own.value(monitor, record)
        if value is None:
            return False
        self.since_best += 1
        if not np.isfinite(value):
            return False
        best = self.best_figure
        if best is not None and (value >= best if monitor in LESS else value <= best):
            return False
        self.best_figure, self.since_best = value, 0
        return True

    def facts(self, record: Record, params: Sequence[Array]) -> Record:
        """Return what is said of the model after a round."""
        monitor, loss, accuracy = self._monitor, record["test_loss"], record["accuracy"]
        return {
            "round": record["round"],
            "monitor": monitor,
            "value": self.own.value(monitor, record),
            "loss": loss,
            "accuracy": accuracy,
            "params_sha256": fingerprint(params),
            "names": self.model.names,
            "statistics": [],
            "sample": list(self.x.shape[1:]),
            "apart": record["round"] != len(self.history),
        }

    def stop(self, record: Record, elapsed: float) -> str | None:
        """Return the condition that ends the run after this round, or None."""
        target, accuracy = self.options["target_accuracy"], record["accuracy"]
        patience, budget = self.options["patience"], self.options["time_budget"]
        if target is not None and accuracy is not None and accuracy >= target:
            return "target_accuracy"
        goal = self.own.target
        if goal is not None and goal.reached(self.own.value(goal.name, record)):
            return "target_metric"
        if patience is not None and self.since_best >= patience:
            return "patience"
        if budget is not None and elapsed >= budget:
            return "time_budget"
        return "rounds" if record["round"] == self.options["rounds"] else None

    def fit(self, on_event: EventHandler, on_model: OnModel | None) -> str:
        """Run the rounds until a stop condition holds; return its name."""
        began = time.perf_counter() - self.earlier
        rounds, every = self.options["rounds"], self.options["eval_every"]
        done = len(self.history)
        reached = self.stop(self.history[-1], self.earlier) if done else None
        if reached or done > rounds:
            on_event(
                "warning",
                f"resume: the run ended after {done} rounds, so no round is left; set "
                "more rounds, or change the option that ended it",
            )
            return reached or "rounds"
        for number in range(done + 1, rounds + 1):
            record = self.round(number)
            evaluated = number % every == 0 or number == rounds
            if evaluated:
                self.evaluate(record)
            stopped = self.stop(record, time.perf_counter() - began)
            if stopped and not evaluated:  # the last round is always evaluated
                self.evaluate(record)
            self.history.append(record)
            if record["rejected"] or record["skipped"]:
                on_event(
                    "warning",
                    "updates with NaN or Inf were rejected: try a smaller learning rate "
                    f"(lr is {self.options['lr']})",
                )
            if on_model is not None:
                on_model(self.facts(record, self.params), list(self.params), None)
            if on_event("round", record) or stopped:
                return stopped or "callback"
        raise AssertionError("unreachable: the last round stops the run")


def _all_finite(arrays: Sequence[Array]) -> bool:
    return all(np.isfinite(a).all() for a in arrays)


def fingerprint(params: Sequence[Array]) -> str:
    """Compute the SHA-256 of the parameters' bytes, in model order."""
    return hashlib.sha256(b"".join(a.tobytes() for a in params)).hexdigest()

"""The rounds of the reference engine: cohorts, local training, averaging, evaluation, stop conditions."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import reference as ref
from .data import Data
from .errors import DataError
from .reference_models import Model

Array = NDArray[Any]
Record = dict[str, Any]


class Listener(Protocol):
    """Told when a run starts, of warnings and of every round; True asks it to stop after that round."""

    def __call__(self, kind: str, payload: Any) -> bool:
        """Take "start" with facts of the run, "warning" with a text, or "round" with its record."""


def outputs_and_classes(loss: str, data: Data) -> tuple[int, int]:
    """Tell how many numbers the model must give, and how many classes there are (0: none).

    Example:
        >>> outputs_and_classes("mse", Data(np.zeros((2, 3)), np.zeros((2, 4)), None, None))
        (4, 0)
    """
    y = data.y_train
    if loss == "cross_entropy":
        classes = int(y.max()) + 1
        return classes, classes
    if loss == "binary_cross_entropy" and y.ndim == 1:
        return 1, 2
    return (1 if y.ndim == 1 else y.shape[1]), 0


class Run:
    """One run of the reference engine.

    Args:
        options: every option, checked.
        data: training and test data, checked.
        init: initial parameters in model order, or None to draw them.

    Raises:
        OptionError: an option that only the core heeds, or a model that does not take the data.
        DataError: initial parameters that don't fit the model.
    """

    def __init__(self, options: Mapping[str, Any], data: Data, init: Sequence[Array] | None) -> None:
        ref.check_supported(options)
        self.options = options
        outputs, self.classes = outputs_and_classes(options["loss"], data)
        self.model = Model(options["model"], data.x_train.shape[1:], outputs, options["hidden"])
        self.x, self.y = self._images(data.x_train), data.y_train
        self.xt = None if data.x_test is None else self._images(data.x_test)
        self.yt = data.y_test
        self.parts = ref.iid(len(self.y), options["clients"], options["seed"])
        self.params = ref.initial(self.model, options["seed"]) if init is None else self._taken(init)
        self.history: list[Record] = []
        self.best, self.since_best = float("inf"), 0
        if self.classes:
            self.shares = np.stack([np.bincount(self.y[part], minlength=self.classes) for part in self.parts])

    def _images(self, x: Array) -> Array:
        x = ref.scale(x, self.options["mean"], self.options["std"])
        return x[:, None] if x.ndim == 3 else x

    def _taken(self, init: Sequence[Array]) -> list[Array]:
        expected, got = list(self.model.shapes.values()), [a.shape for a in init]
        if expected != got:
            raise DataError(f"init: expected arrays of shapes {expected} for {self.options['model']}, got {got}")
        return [np.array(a, np.float32) for a in init]

    def round(self, number: int) -> Record:
        """Train one round and return its record, without the test's figures."""
        began = time.perf_counter()
        chosen = ref.cohort(self.options["clients"], self.options["clients_per_round"], self.options["seed"], number)
        trained, weights, loss, seen = [], [], 0.0, 0
        rejected: list[Record] = []
        for k in chosen:
            part = self.parts[k - 1]
            w, total, count = ref.train_client(self.model, self.params, self.x, self.y, part, self.options, number, k)
            if not all(np.isfinite(a).all() for a in w):
                rejected.append({"client": k, "reason": "holds NaN or Inf"})
                continue
            trained.append(w)
            weights.append(float(len(part)) if self.options["weights"] == "samples" else 1.0)
            loss, seen = loss + total, seen + count
        trained_at = time.perf_counter()
        skipped = None
        params = ref.average(self.params, trained, weights) if trained else self.params
        if not trained or not all(np.isfinite(a).all() for a in params):
            skipped = "no finite update came"
        else:
            self.params = params
        sent = len(chosen) * sum(a.nbytes for a in self.params)
        return {
            "round": number,
            "train_loss": loss / seen if seen else float("nan"),
            "test_loss": None,
            "accuracy": None,
            "client_accuracy": None,
            "personal_accuracy": None,
            "clients": len(trained),
            "seconds_train": trained_at - began,
            "seconds_aggregate": time.perf_counter() - trained_at,
            "seconds_eval": 0.0,
            "bytes_up": sent,
            "bytes_down": sent,
            "rejected": rejected,
            "lost": [],
            "skipped": skipped,
            "seconds_simulated": None,
        }

    def evaluate(self, record: Record) -> None:
        """Put the test's figures into a record."""
        if self.xt is None or self.yt is None:
            return
        began = time.perf_counter()
        loss, by_class = ref.evaluate(self.model, self.params, self.xt, self.yt, self.options["loss"], self.classes)
        record["test_loss"] = loss
        if by_class is not None:
            counts = np.bincount(self.yt, minlength=self.classes)
            record["accuracy"] = float(np.nansum(by_class * counts) / counts.sum())
            record["client_accuracy"] = ref.spread(by_class, self.shares)
        record["seconds_eval"] = time.perf_counter() - began
        self.best, self.since_best = (loss, 0) if loss < self.best else (self.best, self.since_best + 1)

    def stop(self, record: Record, elapsed: float) -> str | None:
        """Name the condition that ends the run after this round, if one holds."""
        target, patience, budget = (self.options[name] for name in ("target_accuracy", "patience", "time_budget"))
        if target is not None and record["accuracy"] is not None and record["accuracy"] >= target:
            return "target_accuracy"
        if patience is not None and self.since_best >= patience:
            return "patience"
        if budget is not None and elapsed > budget:
            return "time_budget"
        return "rounds" if record["round"] == self.options["rounds"] else None

    def fit(self, listener: Listener) -> str:
        """Run the rounds until a stop condition holds; return its name."""
        began = time.perf_counter()
        rounds, every = self.options["rounds"], self.options["eval_every"]
        for number in range(1, rounds + 1):
            record = self.round(number)
            evaluated = number % every == 0 or number == rounds
            if evaluated:
                self.evaluate(record)
            stopped = self.stop(record, time.perf_counter() - began)
            if stopped and not evaluated:  # the last round is always evaluated
                self.evaluate(record)
            self.history.append(record)
            if record["rejected"] or record["skipped"]:
                lr = self.options["lr"]
                listener("warning", f"updates with NaN or Inf were rejected: try a smaller learning rate (lr is {lr})")
            asked = listener("round", record)
            if stopped or asked:
                return stopped or "callback"
        raise AssertionError("unreachable: the last round stops the run")


def run(
    options: Mapping[str, Any], name: str, data: Data, init: Sequence[Array] | None, listener: Listener
) -> tuple[Record, list[Array]]:
    """Run the reference engine.

    Args:
        options: every option, checked.
        name: of the data set, for the facts.
        data: training and test data, checked.
        init: initial parameters in model order, or None.
        listener: told of the start and of every round.

    Returns:
        The facts of the run, named as the core names them, and the parameters in model order.

    Raises:
        OptionError, DataError: see `Run`.
    """
    began = time.perf_counter()
    work = Run(options, data, init)
    size = sum(a.size for a in work.params)
    listener(
        "start",
        {"dataset": name, "trainer": "numpy", "clients": options["clients"], "parameters": size, "warnings": []},
    )
    stopped = work.fit(listener)
    facts = {
        "dataset": name,
        "trainer": "numpy",
        "trainer_reason": "the reference engine has no other",
        "threads": 1,
        "stopped": stopped,
        "seconds": time.perf_counter() - began,
        "params_sha256": hashlib.sha256(b"".join(a.tobytes() for a in work.params)).hexdigest(),
        "names": work.model.names,
        "warnings": [],
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "history": work.history,
    }
    return facts, work.params

"""The clients of the reference engine: their own test data, and their rows in a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import training as ref
from .random_streams import CLIENT_TEST, stream

if TYPE_CHECKING:
    from .run import Run

Parts = list[NDArray[np.int64]]


def hold_out(parts: Parts, share: float | None, seed: int) -> tuple[Parts, Parts]:
    """Set a share of each client's samples aside as its own test data.

    At least one, but never the last one. What stays keeps its order.

    Args:
        parts: the samples of each client.
        share: 0..1, or None for no test data.
        seed: the run's.

    Returns:
        What each client trains on, and what it tests on.

    Example:
        >>> train, test = hold_out([np.arange(8), np.arange(8, 9)], 0.25, 0)
        >>> [len(p) for p in train], [len(p) for p in test]
        ([6, 1], [2, 0])
    """
    if share is None:
        return parts, [part[:0] for part in parts]
    train, test = [], []
    for client, part in enumerate(parts, 1):
        drawn = part.copy()
        stream(seed, CLIENT_TEST, 0, client).shuffle(drawn)
        count = min(max(round(share * len(part)), 1), len(part) - 1)
        apart = np.isin(part, drawn[:count])
        train.append(part[~apart])
        test.append(part[apart])
    return train, test


def table(run: Run) -> list[dict[str, Any]]:
    """Return what a run tells of each client, see `Result.clients`."""
    taken = np.zeros(len(run.parts), int)
    for record in run.history:
        taken[np.array(record["cohort"], int) - 1] += 1
        taken[[r["client"] - 1 for r in record["rejected"]]] -= 1
    return [
        {
            "client": k,
            "name": k,
            "samples": len(part),
            "test_samples": len(run.own_tests[k - 1]),
            "rounds": int(taken[k - 1]),
            **_figures(run, run.own_tests[k - 1]),
            "personal_loss": None,
            "personal_accuracy": None,
        }
        for k, part in enumerate(run.parts, 1)
    ]


def _figures(run: Run, samples: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """Compute the loss and the accuracy of the global model on a client's samples."""
    if len(samples) == 0:
        return {"loss": None, "accuracy": None}
    x, y, loss = run.x[samples], run.y[samples], run.options["loss"]
    mean, accuracy, _ = ref.evaluate(run.model, run.params, x, y, loss, run.classes)
    return {"loss": mean, "accuracy": accuracy}

"""The clients of the reference engine: their own test data, and their rows in a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .random_streams import CLIENT_TEST, stream

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


def table(
    history: Sequence[dict[str, Any]],
    parts: Parts,
    tests: Parts,
    evaluate: Callable[[NDArray[np.int64]], tuple[float, float | None]],
) -> list[dict[str, Any]]:
    """Return what a run tells of each client, see `Result.clients`.

    Args:
        history: the records of the rounds.
        parts: the samples that each client trains on.
        tests: those that it tests on.
        evaluate: returns the loss and the accuracy of the global model on such samples.

    Returns:
        A row for each client.
    """
    taken = np.zeros(len(parts), int)
    for record in history:
        taken[np.array(record["cohort"], int) - 1] += 1
        taken[[r["client"] - 1 for r in record["rejected"]]] -= 1
    rows = []
    for k, (part, test) in enumerate(zip(parts, tests, strict=True), 1):
        loss, accuracy = evaluate(test) if len(test) else (None, None)
        rows.append(
            {
                "client": k,
                "name": k,
                "samples": len(part),
                "test_samples": len(test),
                "rounds": int(taken[k - 1]),
                "loss": loss,
                "accuracy": accuracy,
                "personal_loss": None,
                "personal_accuracy": None,
            }
        )
    return rows

"""Losses in JSON, which has no number for what is NaN or infinite."""

from __future__ import annotations

import math
from typing import Any

LOSSES = ("train_loss", "test_loss", "validation_loss", "loss", "personal_loss")
NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def named(loss: float) -> float | str:
    """Return a loss as JSON can hold it, by ProtoJSON's names of what is no number there.

    Example:
        >>> named(0.5), named(float("inf"))
        (0.5, 'Infinity')
    """
    if math.isfinite(loss):
        return loss
    return next(n for n, v in NAMES.items() if v == loss or (v != v and loss != loss))


def restored(table: dict[str, Any]) -> dict[str, Any]:
    """Give the losses and metrics of an object of JSON back their numbers, in place.

    Example:
        >>> restored({"test_loss": "Infinity", "loss": "mse"})
        {'test_loss': inf, 'loss': 'mse'}
    """
    metrics = table.get("metrics")
    if isinstance(metrics, dict):
        for name, value in metrics.items():
            metrics[name] = NAMES.get(value, value) if isinstance(value, str) else value
    for name in LOSSES:
        value = table.get(name)
        if isinstance(value, str) and value in NAMES:
            table[name] = NAMES[value]
        elif isinstance(value, list):  # of the rounds of a run
            table[name] = [NAMES.get(v, v) if isinstance(v, str) else v for v in value]
    return table

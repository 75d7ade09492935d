"""The figures of a round, and the name of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options.options import column, declared
from .._results.frame import rows
from .._typing import Record
from ._protocol import plain

if TYPE_CHECKING:
    from .._results.result import Result

LONGEST_NAME = 120
# What the name of a run leaves out: where it runs and what it writes, not what it computes.
UNNAMED = ("dataset", "data_dir", "checkpoint", "resume")


def figures(record: Record) -> dict[str, float]:
    """Return the numbers of a round's record, by the names of the history's columns.

    Example:
        >>> figures({"round": 3, "train_loss": 0.5, "accuracy": None, "rejected": []})
        {'train_loss': 0.5, 'rejected': 0.0}
        >>> figures({"client_accuracy": {"min": 0.25}, "skipped": "nobody was there"})
        {'skipped': 1.0, 'client_accuracy_min': 0.25}
    """
    (row,) = rows([record])
    found = {}
    for name, value in row.items():
        if name in ("round", "cohort"):  # the step; whom, and how many, `clients` says
            continue
        if isinstance(value, list | tuple):
            value = len(value)
        elif name == "skipped":
            value = value is not None
        if isinstance(value, bool | int | float):
            found[name] = float(value)
    return found


def named(options: Mapping[str, Any], dataset: str) -> str:
    """Name a run by its data set and the options that change its numbers.

    Example:
        >>> named({"rules": ["scaffold"], "seed": 2, "rounds": 5}, "digits")
        'digits, rules=scaffold, seed=2'
    """
    table = declared()
    same = set(column("resumable")) | set(UNNAMED)
    parts = [Path(dataset).name]
    for name, value in options.items():
        option = table.get(name)
        if option is None or name in same or value in (None, [], option.default):
            continue
        parts.append(f"{name}={plain(value)}")
    text = ", ".join(parts)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def summary(result: Result) -> dict[str, Any]:
    """Return what a run ended with, and its best round.

    Returns:
        accuracy, loss, rounds, seconds, stopped, params_sha256 and, if a round was
        evaluated, best_round; what is not known is not there.
    """
    best = result.best
    facts = {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "rounds": len(result.history),
        "seconds": round(result.seconds, 3),
        "stopped": result.stopped,
        "params_sha256": result.params_sha256,
        "best_round": None if best is None else best.round,
    }
    return {name: value for name, value in facts.items() if value is not None}

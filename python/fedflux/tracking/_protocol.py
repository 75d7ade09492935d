"""What a tracker is, and what it hears of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Run:
    """A run that begins, or goes on.

    Attributes:
        name: of the run, from its data set and the options that aren't at their defaults.
        options: the options that are set, by name, and `dataset` and `trainer` as the
            engine chose them. Their values are numbers, texts and booleans.
        group: what the run is a part of, such as a comparison, or None.
        done: the number of rounds that were done before; 0 for a new run.
        key: the `key` of the track that a resumed run had before, or None.
    """

    name: str
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    group: str | None = None
    done: int = 0
    key: str | None = None


class Track(Protocol):
    """The record of one run. It may have a text `key`, by which it is found again.

    If a method raises, fedflux warns and calls this track no more. The run goes on.
    """

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        """Note a round.

        Args:
            number: of the round, from 1.
            figures: each number of the round's record in `Result.history`, named as the
                columns of `Result.to_frame`; of `rejected` and `dropped` how many they are,
                and for `skipped` 1 if the round did not change the model. What was not
                measured is not there.
        """

    def end(self, summary: Mapping[str, float | str]) -> None:
        """End the track.

        Args:
            summary: what the run ended with: `stopped` as in a `Result`, or "error"; and
                accuracy, loss, rounds, seconds, params_sha256 and best_round, those that
                are known.
        """


class Tracker(Protocol):
    """What `track` takes, beside names: an object that begins the track of a run.

    One object may track several runs side by side, as those of a comparison.
    """

    def start(self, run: Run) -> Track:
        """Begin the track of a run, or go on with it if `run.key` is known."""


def plain(value: Any) -> bool | int | float | str:
    """Return a value of an option as a number, a boolean or a text.

    Example:
        >>> plain(0.1), plain(["scaffold", "topk"])
        (0.1, 'scaffold, topk')
    """
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(str(plain(v)) for v in value)
    return str(value)

"""Events of a run: warnings, the progress bar and the user's callback."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .._results.progress import Progress, progress
from .._typing import Record
from ..errors import OptionError, shown, warn

if TYPE_CHECKING:
    from .._results.snapshot import Snapshot
    from ..tracking._tracks import Tracks

Callback = Callable[[Record], bool | None] | Callable[[Record, "Snapshot"], bool | None]


class Monitor:
    """Handles the events of a run.

    Args:
        callback: the user's function, called with the record of each round and, if it has
            two parameters without defaults, the model after it. It returns True to stop the
            run.

    Attributes:
        warnings: the warnings so far. Each is issued once.
        wants_model: whether the callback takes the model.
        model: after the round of the next event, a Snapshot, set by the engine.
        tracks: what notes the run elsewhere, or None.

    Raises:
        OptionError: the callback can't be called, or returns neither a bool nor None.
    """

    def __init__(self, callback: Callback | None = None) -> None:
        if callback is not None and not callable(callback):
            raise OptionError(
                f"callback: expected a function of a round's record, got {shown(callback)}"
            )
        self.callback = callback
        self.warnings: list[str] = []
        self.wants_model = callback is not None and _takes_two(callback)
        self.model: Snapshot | None = None
        self.tracks: Tracks | None = None
        self._bar: Progress | None = None

    @contextlib.contextmanager
    def progress(self, shown: bool, rounds: int) -> Iterator[None]:
        """Show a progress bar, on stderr or in a notebook, inside a `with` block."""
        if not shown:
            yield
            return
        with progress(rounds) as self._bar:
            yield

    def warn(self, message: str) -> None:
        """Issue a warning, unless the same one was issued before."""
        if message not in self.warnings:
            self.warnings.append(message)
            warn(message)

    def __call__(self, kind: str, payload: Any) -> bool:
        """Handle an event of the engine.

        Args:
            kind: "start", "warning" or "round".
            payload: the facts of the run, the message, or the record of the round.

        Returns:
            Whether the run should stop.
        """
        match kind:
            case "warning":
                self.warn(payload)
            case "start":
                self._start(payload)
            case "round":
                return self._round(payload)
        return False

    def _start(self, facts: Record) -> None:
        for message in facts.get("warnings", ()):
            self.warn(message)
        if self._bar is not None:
            self._bar.start(facts)
        if self.tracks is not None:
            self.tracks.start(facts)

    def _round(self, record: Record) -> bool:
        if self._bar is not None:
            self._bar.round(record)
        if self.tracks is not None:
            self.tracks.round(record)
        loss = record["train_loss"]
        if record["clients"] and (loss is None or not math.isfinite(loss)):
            self.warn(
                f"the training loss is not finite in round {record['round']}: try a "
                "smaller lr"
            )
        if self.callback is None:
            return False
        arguments = (record, self.model) if self.wants_model else (record,)
        return _stops(self.callback(*arguments))


def _takes_two(callback: Callable[..., Any]) -> bool:
    """Whether a function has two parameters without defaults.

    Example:
        >>> _takes_two(lambda record, model: None), _takes_two(lambda record, seen=[]: None)
        (True, False)
    """
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in plain and p.default is p.empty for p in parameters) == 2


def _stops(answer: Any) -> bool:
    # NumPy's bool is compared by name, since this module does not import NumPy
    if answer is None or type(answer).__name__ in ("bool", "bool_"):
        return bool(answer)
    raise OptionError(
        "callback: expected True to stop the run, False or None to go on, got "
        f"{shown(answer)}"
    )

"""The progress bar of a run."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bar,
    TextColumn,
    TimeElapsedColumn,
)


class Progress:
    """A bar on stderr that advances with each round; hidden if stderr is not a terminal.

    Args:
        rounds: the maximal number of rounds.
    """

    def __init__(self, rounds: int) -> None:
        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=rounds)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def start(self, facts: dict[str, Any]) -> None:
        """Show the data set and the number of clients."""
        description = f"{facts['dataset']}, {facts['clients']} clients"
        self._bar.update(self._task, description=description)

    def round(self, record: dict[str, Any]) -> None:
        """Show the number, the loss and the accuracy of a finished round."""
        self._bar.update(self._task, completed=record["round"], description=figures(record))


def figures(record: dict[str, Any]) -> str:
    """Return the loss and the accuracy of a round, as text.

    Example:
        >>> figures({"train_loss": 0.5, "test_loss": None, "accuracy": 0.9})
        'loss 0.5000  accuracy 0.9000'
    """
    loss = record["train_loss"] if record["test_loss"] is None else record["test_loss"]
    parts = [] if loss is None else [f"loss {loss:.4f}"]
    if record["accuracy"] is not None:
        parts.append(f"accuracy {record['accuracy']:.4f}")
    return "  ".join(parts)

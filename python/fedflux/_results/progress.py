"""The progress of a run: a bar in a terminal, or a line of a notebook that is replaced."""

from __future__ import annotations

import contextlib
import html
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

Show = Callable[[int, str], None]  # the rounds that are done, and a text


class Progress:
    """What shows the events of a run.

    Args:
        show: shows the number of rounds that are done, and a text.
    """

    def __init__(self, show: Show) -> None:
        self._show = show

    def start(self, facts: dict[str, Any]) -> None:
        """Show the data set and the number of clients."""
        self._show(0, f"{facts['dataset']}, {facts['clients']} clients")

    def round(self, record: dict[str, Any]) -> None:
        """Show the number, the loss and the accuracy of a finished round."""
        self._show(record["round"], figures(record))


@contextlib.contextmanager
def progress(rounds: int) -> Iterator[Progress]:
    """Show the progress of a run inside a `with` block.

    Args:
        rounds: the maximal number of rounds.

    Yields:
        What shows the events of the run: in a notebook, or on stderr if that is a terminal.
    """
    with (_in_notebook if in_notebook() else _in_terminal)(rounds) as show:
        yield Progress(show)


@contextlib.contextmanager
def _in_terminal(rounds: int) -> Iterator[Show]:
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    bar = rich.Progress(
        rich.TextColumn("round"),
        rich.MofNCompleteColumn(),
        rich.BarColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.description}"),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task("starting", total=rounds)
    with bar:
        yield lambda done, text: bar.update(task, completed=done, description=text)


@contextlib.contextmanager
def _in_notebook(rounds: int) -> Iterator[Show]:
    def line(done: int, text: str) -> dict[str, str]:
        """Return the line as HTML, and as text for what shows no HTML."""
        count = f"round {done}/{rounds}"
        bar = f'<progress max="{rounds}" value="{done}"></progress>'
        return {
            "text/html": f"{bar} {count}&ensp;{html.escape(text)}",
            "text/plain": f"{count}  {text}",
        }

    display = import_module("IPython.display").display
    handle = display(line(0, "starting"), raw=True, display_id=True)
    yield lambda done, text: handle.update(line(done, text), raw=True)


def in_notebook() -> bool:
    """Whether this is Jupyter's kernel, or another one that shows HTML.

    Example:
        >>> in_notebook()
        False
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def figures(record: dict[str, Any]) -> str:
    """Return the loss and the accuracy of a round, as text.

    Those on the validation data, if there are some; else those on the test data.

    Example:
        >>> figures({"train_loss": 0.5, "test_loss": None, "accuracy": 0.9})
        'loss 0.5000  accuracy 0.9000'
    """
    losses = [record.get(f"{of}_loss") for of in ("validation", "test", "train")]
    loss = next((figure for figure in losses if figure is not None), None)
    parts = [] if loss is None else [f"loss {loss:.4f}"]
    accuracies = [record.get(name) for name in ("validation_accuracy", "accuracy")]
    accuracy = next((figure for figure in accuracies if figure is not None), None)
    if accuracy is not None:
        parts.append(f"accuracy {accuracy:.4f}")
    return "  ".join(parts)

"""The progress of a run: a bar in a terminal, lines without one, a line of a notebook."""

from __future__ import annotations

import contextlib
import html
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

Show = Callable[[int, str, bool], None]  # rounds that are done, a text, whether at once
BARS = "▁▂▃▄▅▆▇█"
SPARKS = 12  # the rounds of a sparkline
SECONDS = 10.0  # between lines where there is no terminal


class Progress:
    """What shows the events of a run.

    Args:
        show: shows the number of rounds that are done, and a text; if the third argument
            is true, also where a line is due only now and then.
        sparks: whether to draw the accuracy in characters.
    """

    def __init__(self, show: Show, sparks: bool = True) -> None:
        self._show = show
        self._sparks = sparks
        self._bytes = 0
        self._accuracies: list[float] = []

    def start(self, facts: dict[str, Any]) -> None:
        """Show the data set, the number of clients, and why the first round takes long.

        That it compiles stands there before it does: nothing else is shown meanwhile.
        """
        slow = facts.get("slow_start")
        why = f": {slow}" if slow else ""
        self._show(0, f"{facts['dataset']}, {facts['clients']} clients{why}", bool(slow))

    def round(self, record: dict[str, Any]) -> None:
        """Show the figures of a finished round, and who took part in it."""
        self._bytes += record.get("bytes_up", 0) + record.get("bytes_down", 0)
        if record.get("accuracy") is not None:
            self._accuracies = [*self._accuracies, record["accuracy"]][-SPARKS:]
        parts = [figures(record)]
        if self._sparks and len(self._accuracies) > 1:
            parts.append(sparkline(self._accuracies))
        if record.get("epsilon") is not None:
            parts.append(f"ε {record['epsilon']:.3g}")
        parts += [f"{self._bytes / 1e6:.3g} MB", taking_part(record)]
        self._show(record["round"], "  ".join(filter(None, parts)), False)


@contextlib.contextmanager
def progress(rounds: int) -> Iterator[Progress]:
    """Show the progress of a run inside a `with` block.

    Args:
        rounds: the maximal number of rounds.

    Yields:
        What shows the events of the run: in a notebook, on stderr if that is a terminal, or
        else a line on stderr every ten seconds.
    """
    if in_notebook():
        with _in_notebook(rounds) as show:
            yield Progress(show)
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Progress(_in_lines(rounds), sparks=False)
        return
    with _in_terminal(rounds, console) as show:
        yield Progress(show, sparks=not console.options.ascii_only)


@contextlib.contextmanager
def _in_terminal(rounds: int, console: Any) -> Iterator[Show]:
    from rich import progress as rich

    bar = rich.Progress(
        rich.TextColumn("round"),
        rich.MofNCompleteColumn(),
        rich.BarColumn(bar_width=16),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.description}", markup=False),
        rich.TextColumn("{task.fields[left]}"),
        console=console,
    )
    begun = time.monotonic()
    task = bar.add_task("starting", total=rounds, left="")

    def show(done: int, text: str, at_once: bool) -> None:
        left = time_left(done, rounds, time.monotonic() - begun)
        bar.update(task, completed=done, description=text, left=left)

    with bar:
        yield show


def _in_lines(rounds: int) -> Show:
    """Return what prints a line now and then, for logs."""
    begun = last = time.monotonic()
    printed = False

    def show(done: int, text: str, at_once: bool) -> None:
        nonlocal last, printed
        now = time.monotonic()
        if at_once or now - last >= SECONDS or (printed and done == rounds):
            left = time_left(done, rounds, now - begun)
            line = "  ".join(filter(None, (f"round {done}/{rounds}", text, left)))
            print(line, file=sys.stderr, flush=True)
            last, printed = now, True

    return show


@contextlib.contextmanager
def _in_notebook(rounds: int) -> Iterator[Show]:
    begun = time.monotonic()

    def line(done: int, text: str) -> dict[str, str]:
        """Return the line as HTML, and as text for what shows no HTML."""
        count = f"round {done}/{rounds}"
        bar = f'<progress max="{rounds}" value="{done}"></progress>'
        left = time_left(done, rounds, time.monotonic() - begun)
        text = "  ".join(filter(None, (text, left)))
        return {
            "text/html": f"{bar} {count}&ensp;{html.escape(text)}",
            "text/plain": f"{count}  {text}",
        }

    display = import_module("IPython.display").display
    handle = display(line(0, "starting"), raw=True, display_id=True)
    yield lambda done, text, at_once: handle.update(line(done, text), raw=True)


def sparkline(values: Sequence[float]) -> str:
    """Draw numbers as bars of characters, from the lowest to the highest.

    Example:
        >>> sparkline([0.1, 0.5, 0.9])
        '▁▅█'
    """
    values = [v for v in values if math.isfinite(v)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[math.floor((v - low) * scale + 0.5)] for v in values)


def taking_part(record: dict[str, Any]) -> str:
    """Return how many clients of a round counted, and how many did not.

    Example:
        >>> taking_part({"clients": 8, "rejected": [{}], "dropped": []})
        '8 clients, 1 rejected'
    """
    parts = [f"{record['clients']} client{'s' * (record['clients'] != 1)}"]
    for name, word in (("rejected", "rejected"), ("dropped", "failed")):
        if record.get(name):
            parts.append(f"{len(record[name])} {word}")
    return ", ".join(parts)


def time_left(done: int, rounds: int, seconds: float) -> str:
    """Return the time that the other rounds will take, if they take as long as those done.

    Example:
        >>> time_left(2, 10, 30.0), time_left(0, 10, 1.0)
        ('2:00 left', '')
    """
    if not 0 < done < rounds:
        return ""
    left = round(seconds / done * (rounds - done))
    hours, rest = divmod(left, 3600)
    clock = f"{rest // 60}:{rest % 60:02}"
    return f"{hours}:{clock.rjust(5, '0')} left" if hours else f"{clock} left"


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
    parts += [
        f"{name} {figure:.4f}"
        for name, figure in record.get("metrics", {}).items()
        if figure is not None
    ]
    return "  ".join(parts)

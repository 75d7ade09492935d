"""The table of a comparison while it runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._results.progress import figures, in_notebook

if TYPE_CHECKING:
    from rich.table import Table

Event = dict[str, Any]
ENDED = ("end", "kept", "failed")


class State:
    """What is known of a comparison so far, by configuration.

    Example:
        >>> state = State()
        >>> event = {"configuration": "none", "seed": 1, "run": 1, "of": 2}
        >>> state.add(event | {"kind": "end", "payload": "accuracy 0.9"})
        >>> state.rows()
        [['none', '1', '', 'accuracy 0.9']]
    """

    def __init__(self) -> None:
        self.done = 0
        self.of = 0
        self._ended: dict[str, int] = {}
        self._now: dict[str, dict[int, str]] = {}
        self._last: dict[str, str] = {}

    def add(self, event: Event) -> None:
        """Take in an event."""
        name, seed = event["configuration"], event["seed"]
        self.of = event["of"]
        now = self._now.setdefault(name, {})
        if event["kind"] == "round":
            record = event["payload"]
            now[seed] = f"seed {seed}, round {record['round']}: {figures(record)}"
        elif event["kind"] == "start":
            now[seed] = f"seed {seed}, starting"
        elif event["kind"] in ENDED:
            now.pop(seed, None)
            self.done += 1
            self._ended[name] = self._ended.get(name, 0) + (event["kind"] != "failed")
            failed = "failed: " if event["kind"] == "failed" else ""
            self._last[name] = failed + event["payload"]

    def rows(self) -> list[list[str]]:
        """Return for each configuration: name, runs that ended, what runs, what ended."""
        return [
            [
                name,
                str(self._ended.get(name, 0)),
                "; ".join(now.values()),
                self._last.get(name, ""),
            ]
            for name, now in self._now.items()
        ]


@contextlib.contextmanager
def watched(shown: bool) -> Iterator[Callable[[Event], None]]:
    """Show the events of a comparison inside a `with` block."""
    if not shown:
        yield lambda event: None
    elif in_notebook():
        yield _in_notebook()
    else:
        with _in_terminal() as show:
            yield show


@contextlib.contextmanager
def _in_terminal() -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.live import Live

    console, state = Console(stderr=True), State()
    if not console.is_terminal:
        yield _in_lines()
        return

    def table() -> Table:
        return _table(state)

    with Live(get_renderable=table, console=console, transient=True):
        yield state.add


def _table(state: State) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{state.done} of {state.of or '?'} runs", box=None)
    for heading in ("", "ended", "now", "last"):
        table.add_column(heading, overflow="fold")
    for row in state.rows():
        table.add_row(*map(Text, row))
    return table


def _in_lines() -> Callable[[Event], None]:
    """Return what prints a line for a run that ended, if nothing can be replaced."""
    ended = 0

    def show(event: Event) -> None:
        nonlocal ended
        if event["kind"] in ENDED:
            ended += 1
            print(
                f"{event['configuration']}, seed {event['seed']}: {event['payload']} "
                f"({ended} of {event['of']})",
                file=sys.stderr,
                flush=True,
            )

    return show


def _in_notebook() -> Callable[[Event], None]:
    display = import_module("IPython.display").display
    state = State()

    def text() -> dict[str, str]:
        lines = ["  ".join(filter(None, row)) for row in state.rows()]
        return {"text/plain": "\n".join([f"{state.done} of {state.of} runs", *lines])}

    handle = display(text(), raw=True, display_id=True)

    def show(event: Event) -> None:
        state.add(event)
        handle.update(text(), raw=True)

    return show

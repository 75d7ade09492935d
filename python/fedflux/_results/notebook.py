"""The progress of a run in a notebook: a line that is replaced after each round."""

from __future__ import annotations

import html
import sys
from importlib import import_module
from types import TracebackType
from typing import Any


def in_notebook() -> bool:
    """Whether this is Jupyter's kernel, or another one that shows HTML.

    Example:
        >>> in_notebook()
        False
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """A bar that advances with each round.

    Args:
        rounds: the maximal number of rounds.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds, self._done = rounds, 0
        self._handle: Any = None

    def __enter__(self) -> NotebookProgress:
        display = import_module("IPython.display").display
        self._handle = display(self._line("starting"), raw=True, display_id=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle = None

    def start(self, facts: dict[str, Any]) -> None:
        """Show the data set and the number of clients."""
        self._show(f"{facts['dataset']}, {facts['clients']} clients")

    def round(self, record: dict[str, Any]) -> None:
        """Show the number and the figures of a finished round."""
        from .progress import figures

        self._done = record["round"]
        self._show(figures(record))

    def _show(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update(self._line(text), raw=True)

    def _line(self, text: str) -> dict[str, str]:
        """Return the line as HTML, and as text for what shows no HTML."""
        count = f"round {self._done}/{self._rounds}"
        bar = f'<progress max="{self._rounds}" value="{self._done}"></progress>'
        return {
            "text/html": f"{bar} {count}&ensp;{html.escape(text)}",
            "text/plain": f"{count}  {text}",
        }

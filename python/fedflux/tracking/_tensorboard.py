"""A track in event files, which TensorBoard reads; tensorboardX writes them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .._results.atomic_write import as_path
from ..errors import needs
from ._protocol import Run

LONGEST_FOLDER = 160  # bytes; with the time behind it, within the 255 of file systems


class TensorBoard:
    """Writes each run's event files into a folder of its own: `tensorboard --logdir runs`.

    Args:
        folder: where the folders of the runs are. They are named by the run and the time.

    Raises:
        FedFluxError: tensorboardX is not installed.
        OptionError: the folder is no path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     track = TensorBoard(folder).start(Run("digits"))
        ...     track.round(1, {"accuracy": 0.5})
        ...     track.end({"stopped": "rounds"})
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs") -> None:
        self.folder = as_path("folder", folder)
        with needs("tensorboardX", "tensorboard"):
            self._library = import_module("tensorboardX")

    def start(self, run: Run) -> _Track:
        """Make the folder of a run, or go on in the one that the key names."""
        again = run.key is not None and self._is_there(run.key)
        key = run.key if again and run.key is not None else self._make(run)
        # TensorBoard forgets what another process wrote from this step on
        purge = run.done + 1 if again else None
        writer = self._library.SummaryWriter(str(self.folder / key), purge_step=purge)
        track = _Track(key, writer)
        if not again:
            track.options(run.options)
        return track

    def _is_there(self, key: str) -> bool:
        """Whether a key, which comes from a file, names a folder in this one."""
        plain = key not in ("", "..") and Path(key).name == key
        return plain and (self.folder / key).is_dir()

    def _make(self, run: Run) -> str:
        began = time.strftime("%Y-%m-%d-%H%M%S")
        parts = [file_name(part) for part in (run.group, run.name) if part]
        named = cut(f"{'-'.join(parts)}", LONGEST_FOLDER)
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            key = f"{named}-{began}" + (f"-{number}" if number > 1 else "")
            try:
                (self.folder / key).mkdir()
            except FileExistsError:
                number += 1
            else:
                return key


class _Track:
    """The event files of one run."""

    def __init__(self, key: str, writer: Any) -> None:
        self.key, self._writer = key, writer

    def options(self, options: Mapping[str, Any]) -> None:
        """Write the options, for TensorBoard's table of hyperparameters and as text."""
        summaries = import_module("tensorboardX.summary")
        parts = summaries.hparams(dict(options), {"accuracy": 0.0, "train_loss": 0.0})
        for part in parts[:2]:  # the third says that the session ended
            self._writer.file_writer.add_summary(part)
        self._writer.add_text("options", _table(options), 0)

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        for name, figure in figures.items():
            self._writer.add_scalar(name, figure, number)
        self._writer.flush()

    def end(self, summary: Mapping[str, Any]) -> None:
        self._writer.add_text("result", _table(summary), summary.get("rounds", 0))
        self._writer.close()


def _table(facts: Mapping[str, Any]) -> str:
    """Return facts as a table in Markdown."""
    lines = [
        f"| {name} | {str(value).replace('|', chr(92) + '|')} |"
        for name, value in facts.items()
    ]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def file_name(text: str) -> str:
    """Return a text as it can stand in the name of a file on any system.

    Example:
        >>> file_name("digits, rules=fedprox(mu=0.1)"), file_name("données/été")
        ('digits,rules=fedprox(mu=0.1)', 'données_été')
    """
    return re.sub(r"[^\w.,=()+-]", "_", text.replace(", ", ",")).strip(".") or "run"


def cut(text: str, longest: int) -> str:
    """Return as much of a text as fits into a number of bytes."""
    return text.encode()[:longest].decode(errors="ignore")

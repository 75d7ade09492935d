"""A run in a process of its own, for threads and forked processes that can't call Julia.

The inputs go through files in a temporary folder, NumPy arrays and JSON; the events of the
run come back as lines of JSON, each answered by whether to stop.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .._data.arrays import Data
from ..errors import FedFluxError

Arrays = dict[str, NDArray[Any]]
OnEvent = Callable[[str, Any], bool]


def run(
    options: dict[str, Any], data: Data | None, init: Arrays | None, on_event: OnEvent
) -> tuple[dict[str, Any], list[NDArray[np.float32]]]:
    """Run the core in a new process.

    Args:
        options: every option, checked.
        data: the user's data, or None for a named data set.
        init: initial parameters by name, or None.
        on_event: called with each event and its payload; returns whether to stop.

    Returns:
        The facts of the run, and the parameters in model order.

    Raises:
        FedFluxError: what the run raises there, or the process ended.
    """
    with tempfile.TemporaryDirectory(prefix="fedflux-") as name:
        folder = Path(name)
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        if data is not None:
            fields = data._asdict().items()
            _save(folder / "data.npz", {n: a for n, a in fields if a is not None})
        if init is not None:
            _save(folder / "init.npz", init)
        _follow(folder, on_event)
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return facts, list(load(folder / "parameters.npz").values())


def _follow(folder: Path, on_event: OnEvent) -> None:
    """Start the process, pass its events on, and wait for its end."""
    command = [sys.executable, "-m", "fedflux._simulation.other_process_main", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            failure = _answer(process.stdout, process.stdin, on_event)
        except BaseException:
            process.kill()
            raise
    if failure is not None:
        raise failure
    if process.returncode != 0:
        raise FedFluxError(
            "the process that trained for this thread ended with exit code "
            f"{process.returncode}"
        )


def _answer(lines: IO[str], answers: IO[str], on_event: OnEvent) -> FedFluxError | None:
    """Answer events until the process ends; return the error that it reports."""
    for line in lines:
        kind, payload = json.loads(line)
        if kind == "error":
            name, message = payload
            kinds: list[type[FedFluxError]] = [FedFluxError]
            kinds += FedFluxError.__subclasses__()
            return next(k for k in kinds if k.__name__ == name)(message)
        print(int(on_event(kind, payload)), file=answers, flush=True)
    return None


def _save(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Arrays:
    """Read arrays by name, in their order; nothing but numbers is read."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}

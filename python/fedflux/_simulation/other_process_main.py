"""The process that `other_process` starts, with a folder as its argument."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .._data.arrays import Data
from ..errors import FedFluxError
from . import engines
from .other_process import load


def main(folder: Path) -> None:
    """Run what is in the folder; stdout carries the events alone."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Julia or a library prints

    def send(kind: str, payload: Any) -> None:
        print(json.dumps([kind, payload]), file=events, flush=True)

    def on_event(kind: str, payload: Any) -> bool:
        send(kind, payload)
        return sys.stdin.readline() == "1\n"

    try:
        facts, parameters = _run(folder, on_event)
    except FedFluxError as error:
        send("error", [type(error).__name__, str(error)])
        return
    # by number: the best model has the names of the last
    np.savez(folder / "parameters.npz", **{str(i): a for i, a in enumerate(parameters)})
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _run(folder: Path, on_event: Any) -> tuple[dict[str, Any], list[Any]]:
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    data = init = None
    if (folder / "data.npz").exists():
        arrays: dict[str, Any] = dict.fromkeys(Data._fields)
        data = Data(**arrays | load(folder / "data.npz"))
    if (folder / "init.npz").exists():
        init = load(folder / "init.npz")
    facts, parameters, _ = engines.run_core(engines.Task(options, data, {}, init), on_event)
    return facts, parameters


if __name__ == "__main__":
    main(Path(sys.argv[1]))

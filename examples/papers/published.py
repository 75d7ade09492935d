"""A published table beside one's own: each cell is run, kept, and written as Markdown.

The scripts beside this file describe a paper's table; this file runs it. Cells that were
measured are kept in `OUT/NAME.json`, so a table that was interrupted goes on, and a cell
that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fedflux

Measure = Callable[[fedflux.Result], float]


def accuracy(result: fedflux.Result) -> float:
    """The final accuracy in percent."""
    return 100 * float(result.history[-1]["accuracy"])


def personal_accuracy(result: fedflux.Result) -> float:
    """The accuracy on the clients' data in percent, of their own models if any."""
    last = result.history[-1]
    if last["personal_accuracy"] is not None:
        return 100 * float(last["personal_accuracy"])
    own = [(c["accuracy"], c["test_samples"]) for c in result.clients if c["test_samples"]]
    return float(100 * sum(a * n for a, n in own) / sum(n for _, n in own))


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what was published, and the run that stands beside it.

    Attributes:
        row, column: where it stands.
        published: the paper's figure, in the table's unit; None if it has none.
        options: those of `fedflux.run` beside the table's common ones.
    """

    row: str
    column: str
    published: float | None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A paper's table.

    Attributes:
        name: of the file of its figures.
        unit: what a figure is.
        common: options of `fedflux.run` for all cells.
        published_rounds: the rounds of the published figures; None if it has no numbers.
        cells: the cells.
        measure: a run's figure.
        digits: decimals of a figure.
    """

    name: str
    unit: str
    common: dict[str, Any]
    published_rounds: int | None
    cells: list[Cell]
    measure: Measure = accuracy
    digits: int = 1


def main(table: Table, rounds: int, dataset: str | None = "fashionmnist") -> None:
    """Run a table as a command.

    Args:
        table: the table.
        rounds: how many rounds a cell takes, unless `--rounds` says otherwise.
        dataset: the default of `--data`; None if the table brings its data.
    """
    parser = argparse.ArgumentParser(description=(sys.modules["__main__"].__doc__ or ""))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("papers"), help="folder of figures"
    )
    parser.add_argument(
        "--only", default="", help="cells whose row or column holds this text"
    )
    if dataset is not None:
        parser.add_argument("--data", default=dataset, help="name or .npz file")
        parser.add_argument("--data-dir", help="folder of the data set's files")
    asked = parser.parse_args()
    options = table.common | {"rounds": asked.rounds, "seed": asked.seed}
    options.setdefault("eval_every", asked.rounds)
    if dataset is not None:
        options |= {"dataset": asked.data} | (
            {"data_dir": asked.data_dir} if asked.data_dir else {}
        )
    asked.out.mkdir(parents=True, exist_ok=True)
    for cell in table.cells:
        if asked.only in cell.row or asked.only in cell.column:
            measured(table, cell, options | cell.options, asked.out)
    print(markdown(read(asked.out / f"{table.name}.json")))


def measured(table: Table, cell: Cell, options: dict[str, Any], out: Path) -> None:
    """Measure a cell, unless the figures have it already, and write them."""
    path = out / f"{table.name}.json"
    kept: dict[str, Any] = (
        read(path) if path.exists() else {"unit": table.unit, "cells": []}
    )
    written = {name: shown(value) for name, value in options.items()}
    place = (cell.row, cell.column)
    same = [c for c in kept["cells"] if (c["row"], c["column"]) == place]
    if same and same[0]["options"] == written:
        return
    named = json.dumps([place, written], sort_keys=True)
    digest = hashlib.sha256(named.encode()).hexdigest()[:12]
    folder = out / "checkpoints" / f"{table.name}-{digest}"
    start = time.perf_counter()
    result = fedflux.run(**options, **_kept_in(str(folder)))
    seconds = time.perf_counter() - start
    kept["cells"] = [c for c in kept["cells"] if (c["row"], c["column"]) != place]
    kept["cells"].append(
        {
            "row": cell.row,
            "column": cell.column,
            "published": cell.published,
            "published_rounds": table.published_rounds,
            "measured": round(table.measure(result), table.digits + 1),
            "rounds": len(result.history),
            "seconds": round(seconds, 1),
            "options": written,
        }
    )
    order = {(c.row, c.column): i for i, c in enumerate(table.cells)}
    kept["cells"].sort(key=lambda c: order.get((c["row"], c["column"]), len(order)))
    kept |= {"unit": table.unit, "digits": table.digits, "version": fedflux.__version__}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{cell.row}, {cell.column}: {seconds:.0f} s", file=sys.stderr)


def _kept_in(folder: str) -> dict[str, Any]:
    """Options that go on from a folder's checkpoints, if it has any."""
    return {"checkpoint": folder, "resume": folder, "checkpoint_every": 20}


def shown(value: Any) -> Any:
    """A value of an option, as JSON can hold it; arrays are told by their cell's place."""
    try:
        json.dumps(value)
    except TypeError:
        return "given"
    return value


def read(path: Path) -> dict[str, Any]:
    """Read the figures of a table."""
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def markdown(figures: dict[str, Any]) -> str:
    """Write figures as a table: the measured one, and the published one in parentheses."""
    cells = {(c["row"], c["column"]): c for c in figures["cells"]}
    rows = list(dict.fromkeys(c["row"] for c in figures["cells"]))
    columns = list(dict.fromkeys(c["column"] for c in figures["cells"]))
    lines = [
        f"| {figures['unit']} | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for row in rows:
        texts = [_text(cells.get((row, column)), figures["digits"]) for column in columns]
        lines.append(f"| {row} | {' | '.join(texts)} |")
    lines += ["", _effort(figures["cells"])]
    return "\n".join(lines)


def _effort(cells: list[dict[str, Any]]) -> str:
    """The rounds of the figures, and how long ours took."""
    rounds = " or ".join(map(str, sorted({c["rounds"] for c in cells})))
    published = {c["published_rounds"] for c in cells} - {None}
    beside = f", {published.pop()} published" if published else ""
    seconds = sum(c["seconds"] for c in cells)
    return f"Rounds: {rounds}{beside}. All cells took {seconds:.0f} s here."


def _text(cell: dict[str, Any] | None, digits: int) -> str:
    if cell is None:
        return ""
    own = f"{cell['measured']:.{digits}f}"
    return own if cell["published"] is None else f"{own} ({cell['published']:.{digits}f})"

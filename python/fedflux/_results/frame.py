"""A history as a table: a pandas DataFrame, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FedFluxError, OptionError, needs
from .atomic_write import as_path, write_whole

if TYPE_CHECKING:
    import pandas

Rows = list[dict[str, Any]]
SPREAD = ("min", "q1", "median", "q3", "max")


def rows(history: list[dict[str, Any]]) -> Rows:
    """Return a row for each round, in which nothing has parts but lists."""
    found = []
    for record in history:
        row = dict(record)
        spread = row.pop("client_accuracy", None) or {}
        for name in SPREAD:
            row[f"client_accuracy_{name}"] = spread.get(name)
        for group in ("aggregation", "membership", "metrics"):
            for name, number in (row.pop(group, None) or {}).items():
                row[f"{group}_{name}"] = number
        found.append(row)
    return found


def write(history: list[dict[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Write a history as CSV or as Parquet, see `Result.save_history`."""
    file = writable("path", path)
    if file.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        table = rows(history)
        names = list(dict.fromkeys(name for row in table for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: _cell(v) for n, v in row.items()} for row in table)
        write_whole(file, text.getvalue().encode())
        return file
    content = io.BytesIO()
    of(history).to_parquet(content)
    write_whole(file, content.getvalue())
    return file


def writable(name: str, path: Any) -> Path:
    """Return the path of a history's file; see that its kind can be written.

    Args:
        name: of the argument that the path was given for.
        path: as it was given.

    Raises:
        OptionError: it is no path, or has another ending than .csv and .parquet.
        FedFluxError: .parquet, without pandas and pyarrow.

    Example:
        >>> writable("path", "run/history.csv").name
        'history.csv'
    """
    file = as_path(name, path)
    if file.suffix.lower() == ".parquet":
        try:
            import_module("pandas")
            import_module("pyarrow")
        except ImportError:
            raise FedFluxError(
                "Parquet needs pandas and pyarrow: run pip install 'fedflux[parquet]', or "
                "write a .csv"
            ) from None
    elif file.suffix.lower() != ".csv":
        raise OptionError(f"{name}: expected a file .csv or .parquet, got {str(file)!r}")
    return file


def _cell(value: Any) -> Any:
    """Return lists as text, such as the cohort: 1 5 9."""
    if not isinstance(value, list | tuple):
        return value
    texts = (
        f"{v['client']} ({v['reason']})" if isinstance(v, dict) else str(v) for v in value
    )
    joined = "; " if any(isinstance(v, dict) for v in value) else " "
    return joined.join(texts)


def of(history: list[dict[str, Any]]) -> pandas.DataFrame:
    """Make the table of a history; see `Result.to_frame`."""
    with needs("pandas", "pandas", ", or use history"):
        import pandas
    return pandas.DataFrame(rows(history))

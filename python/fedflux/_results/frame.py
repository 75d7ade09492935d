"""A history as a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import FedFluxError

if TYPE_CHECKING:
    import pandas


def of(history: list[dict[str, Any]]) -> pandas.DataFrame:
    """Make the table of a history; see `Result.to_frame`."""
    try:
        import pandas
    except ImportError:
        raise FedFluxError(
            "pandas is not installed: run pip install 'fedflux[pandas]', or use history"
        ) from None
    rows = []
    for record in history:
        row = dict(record)
        spread = row.pop("client_accuracy", None) or {}
        for name in ("min", "q1", "median", "q3", "max"):
            row[f"client_accuracy_{name}"] = spread.get(name)
        for group in ("aggregation", "membership"):
            for name, number in (row.pop(group, None) or {}).items():
                row[f"{group}_{name}"] = number
        rows.append(row)
    return pandas.DataFrame(rows)

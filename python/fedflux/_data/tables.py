"""Tables: columns by name, and files that pandas reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import DataError, FedFluxError, first_line, shown
from .by_client import Given

FORMATS = (".csv", ".parquet")
MOST_BYTES = 4 << 30  # of a file: a table in memory is several times as large
MOST_UNPACKED = 16 << 30
CELL = 8  # bytes of a number in a table


def named_columns(given: Given) -> Given:
    """Take targets and owners out of the tables, if they are named by columns.

    Args:
        given: the data; `x_train` and `x_test` may be tables or paths of .csv and .parquet
            files, and the others the names of their columns. `y_test` may be left out if
            `x_test` has the column of `y_train`.

    Returns:
        The same, with tables in place of paths, and columns in place of names.

    Raises:
        DataError: there is no such column, a name without a table, a file that can't be
            read or is too large.
        FedFluxError: pandas is not installed.

    Example:
        >>> named_columns(Given([[1.0]], [0])).y_train
        [0]
    """
    train, test = _table("x_train", given.x_train), _table("x_test", given.x_test)
    y, owner = given.y_train, given.owner
    y_test, owner_test = given.y_test, given.owner_test
    if isinstance(y, str) and test is not None and y_test is None:
        y_test = y
    if isinstance(owner, str) and owner_test is None and owner in _columns(test):
        owner_test = owner
    train, y, owner = _taken("x_train", train, y_train=y, owner=owner)
    test, y_test, owner_test = _taken("x_test", test, y_test=y_test, owner_test=owner_test)
    return Given(train, y, test, y_test, owner, owner_test)


def _table(name: str, value: Any) -> Any:
    """Read a file of a table; anything else stays what it is."""
    if not isinstance(value, str | os.PathLike):
        return value
    path = Path(os.fspath(value))
    if path.suffix.lower() not in FORMATS:
        raise DataError(
            f"{name}: expected an array, a table or the path of a {' or '.join(FORMATS)} "
            f"file, got {str(value)!r}; give the path of an .npz file as dataset"
        )
    if not path.is_file():
        raise DataError(f"{name}: no file {str(path)!r} (current folder: {os.getcwd()})")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(
            f"{name}: expected a file of at most {MOST_BYTES >> 30} GiB, got "
            f"{path.stat().st_size >> 30} GiB; read a part of it, and give the table"
        )
    try:
        import pandas
    except ImportError:
        raise FedFluxError(
            f"{name}: reading {path.name} needs pandas, which is not installed: run "
            "pip install 'fedflux[pandas]'"
        ) from None
    try:
        if path.suffix.lower() == ".csv":
            return pandas.read_csv(path)
        _check_parquet(name, path)
        return pandas.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise FedFluxError(
            f"{name}: reading {path.name} needs pyarrow, which is not installed: run "
            "pip install 'fedflux[parquet]'"
        ) from None
    except (OSError, ValueError, pandas.errors.ParserError) as error:
        raise DataError(f"{name}: {path.name} can't be read: {first_line(error)}") from None


def _check_parquet(name: str, path: Path) -> None:
    """Refuse a file that unpacks to very much: equal values take nearly no bytes in it."""
    from pyarrow.parquet import read_metadata

    facts = read_metadata(path)
    groups = range(facts.num_row_groups)
    unpacked = sum(facts.row_group(i).total_byte_size for i in groups)
    size = max(unpacked, CELL * facts.num_rows * facts.num_columns)
    if size > MOST_UNPACKED:
        raise DataError(
            f"{name}: {path.name} holds {facts.num_rows:,} rows of {facts.num_columns} "
            f"columns, {size:,} bytes in memory; expected at most {MOST_UNPACKED:,}; read "
            "a part of it, and give the table"
        )


def _columns(table: Any) -> list[Any]:
    return list(getattr(table, "columns", ()))


def _taken(name: str, table: Any, **wanted: Any) -> tuple[Any, ...]:
    """Return a table without the columns that are named, and these columns."""
    values, names = [], []
    for argument, value in wanted.items():
        if not isinstance(value, str):
            values.append(value)
            continue
        columns = _columns(table)
        if not columns:
            raise DataError(
                f"{argument}: {value!r} names a column, and {name} is no table; expected "
                f"an array, or a table as {name}, got {shown(table, 40)}"
            )
        if value not in columns:
            listed = ", ".join(map(repr, columns[:8])) + ", …" * (len(columns) > 8)
            raise DataError(
                f"{argument}: {name} has no column {value!r}; its columns are {listed}"
            )
        values.append(table[value])
        names.append(value)
    if not names:
        return (table, *values)
    dropped = list(dict.fromkeys(names))
    rest = [column for column in _columns(table) if column not in dropped]
    if not rest:
        raise DataError(f"{name}: no column is left for the inputs besides {dropped}")
    return (table[rest], *values)

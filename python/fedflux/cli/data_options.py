"""The user's own data on the command line: files, names of columns, lists of samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import DataError, first_line
from .run_options import PATH

MAX_PARTITION_BYTES = 2**30
FILES = {
    "x_train": "training inputs: a .npy, .csv or .parquet file, in place of a data set",
    "y_train": "targets: a .npy file, or the name of a column of x-train",
    "owner": "the owner of each training sample: a .npy file, or the name of a column",
}
TEST_FILES = {
    "x_test": "test inputs, as x-train",
    "y_test": "test targets, as y-train",
    "owner_test": "the owner of each test sample, as owner",
}
Command = Callable[..., Any]


def data_options(*tables: dict[str, str]) -> Callable[[Command], Command]:
    """Add the options of the user's own data to a command."""

    def add(command: Command) -> Command:
        lists = (
            "the samples of each client, from 0, in a .json file: a list of lists, or an "
        )
        command = click.option(
            "--partition-file", type=PATH, help=f"{lists}object by the clients' names"
        )(command)
        axes = "axes of images: NHWC has the channels last"
        kinds = click.Choice(["NCHW", "NHWC"])
        command = click.option("--layout", type=kinds, help=axes)(command)
        for table in reversed(tables):
            for name, text in reversed(table.items()):
                flag = f"--{name.replace('_', '-')}"
                command = click.option(flag, metavar="FILE|COLUMN", help=text)(command)
        return command

    return add


def with_partition(given: dict[str, Any], file: Path | None) -> dict[str, Any]:
    """Return the arguments, with the lists of a partition's file if there is one.

    Args:
        given: the arguments of a run.
        file: of JSON, or None.

    Raises:
        DataError: there is no such file, it is too large, holds something else than lists
            of samples, or a partition is named besides.

    Example:
        >>> with_partition({"clients": 3}, None)
        {'clients': 3}
    """
    if file is None:
        return given
    where = f"partition-file {str(file)!r}"
    if "partition" in given:
        raise DataError(f"{where} and partition were both given: expected one of them")
    try:
        if file.stat().st_size > MAX_PARTITION_BYTES:
            raise DataError(f"{where}: expected at most {MAX_PARTITION_BYTES} bytes")
        parts = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"partition-file: no file {str(file)!r}") from None
    except OSError as error:
        raise DataError(f"{where}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: can't be read as JSON: {first_line(error)}") from None
    if not isinstance(parts, list | dict):
        raise DataError(f"{where}: expected a list of lists, or an object of lists")
    return given | {"partition": parts}

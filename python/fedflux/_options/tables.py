"""The Julia core's folder, and the tables of options in it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import FedFluxError

TABLES = Path("src", "options")


@cache
def core_path() -> Path:
    """Find the folder of the Julia package FedFlux.

    Returns:
        The folder in the installed package or, for a checkout or an editable install, in
        the repository.

    Raises:
        FedFluxError: neither folder exists.

    Example:
        >>> core_path().name
        'FedFlux'
    """
    package = Path(__file__).resolve().parent.parent
    candidates = (
        package / "julia" / "FedFlux",
        package.parent.parent / "julia" / "FedFlux",
    )
    table = TABLES / "options.toml"
    for candidate in candidates:
        if (candidate / table).is_file():
            return candidate
    raise FedFluxError(
        f"the Julia core is missing: expected {table.as_posix()} in {candidates[0]} or "
        f"{candidates[1]}; reinstall fedflux"
    )


@cache
def read_table(name: str) -> dict[str, Any]:
    """Read a table of the core.

    Args:
        name: options.toml or specs.toml.

    Returns:
        The entries by name.

    Example:
        >>> read_table("options.toml")["clients"]["default"]
        10
    """
    with (core_path() / TABLES / name).open("rb") as file:
        return tomllib.load(file)

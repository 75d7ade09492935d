"""The Julia core's folder, and the tables of options in it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from .._core_files import PLACES, TABLES, core_folder
from ..errors import FedFluxError


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
    found = core_folder()
    if found is not None:
        return found
    raise FedFluxError(
        "the Julia core is missing: expected src/options/options.toml in "
        f"{' or '.join(map(str, PLACES))}; reinstall fedflux"
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

"""Where the files of the Julia core are: in a checkout, or in the installed package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

TABLES = Path("src", "options")
PLACES = (
    Path(__file__).resolve().parent / "julia" / "FedFlux",
    Path(__file__).resolve().parent.parent.parent / "julia" / "FedFlux",
)


@cache
def core_folder() -> Path | None:
    """Find the folder of the Julia package FedFlux.

    Returns:
        The folder in the installed package or, for a checkout or an editable install, in
        the repository; None if neither is there.
    """
    return next((p for p in PLACES if (p / TABLES / "options.toml").is_file()), None)

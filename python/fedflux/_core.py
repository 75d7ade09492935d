"""Where the Julia core's folder lies."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .errors import FedFluxError


@cache
def core_path() -> Path:
    """Find the folder of the Julia package FedFlux.

    Returns:
        The folder inside the installed package, or, in a checkout or an editable install, the one in the repository.

    Raises:
        FedFluxError: the folder is in neither place.

    Example:
        >>> core_path().name
        'FedFlux'
    """
    here = Path(__file__).resolve().parent
    places = (here / "julia" / "FedFlux", here.parent.parent / "julia" / "FedFlux")
    for place in places:
        if (place / "src" / "options.toml").is_file():
            return place
    raise FedFluxError(
        f"the Julia core is missing: expected src/options.toml in {places[0]} or {places[1]}; reinstall fedflux"
    )

"""Deployment on Flower: apps made from a data loader and the options of a run.

`pip install 'fedflux[flower]'` installs Flower. `fedflux new NAME` writes a project that
uses this; docs/deployment.md explains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import client_app
    from .server import server_app
    from .shares import share, test_share

__all__ = ["client_app", "server_app", "share", "test_share"]

_MODULES = {
    "client_app": "client",
    "server_app": "server",
    "share": "shares",
    "test_share": "shares",
}


def __getattr__(name: str) -> Any:
    """Import Flower when it is first needed (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'fedflux.flower' has no attribute {name!r}")
    from importlib import import_module

    from ..errors import FedFluxError

    try:
        module = import_module(f".{_MODULES[name]}", __name__)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "flwr":
            raise
        raise FedFluxError(
            "Flower is not installed: run pip install 'fedflux[flower]'"
        ) from None
    value = getattr(module, name)
    globals()[name] = value
    return value

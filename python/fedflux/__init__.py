"""Federated learning: a core in Julia, on Flux, with a thin front in Python.

Example:
    >>> import fedflux
    >>> result = fedflux.run(dataset="digits", model="softmax_regression", lr=0.5, rounds=2, engine="reference")
    >>> result.accuracy > 0.5
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._julia import setup
    from ._run import partition, run
    from .errors import DataError, FedFluxError, FedFluxWarning, JuliaUnavailable, OptionError
    from .result import Result

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "FedFluxError",
    "FedFluxWarning",
    "JuliaUnavailable",
    "OptionError",
    "Result",
    "__version__",
    "partition",
    "run",
    "setup",
]

_HOMES = {"partition": "_run", "run": "_run", "setup": "_julia", "Result": "result"}


def __getattr__(name: str) -> Any:
    """Import what a name needs when it is first used, so that `import fedflux` stays instant (PEP 562)."""
    if name not in __all__:
        return _spec(name)
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def _spec(name: str) -> Any:
    """Find the class of an object that an option names, such as `FedProx`."""
    near = ""
    if name[:1].isupper():
        from .specs import classes

        if name in classes():
            return classes()[name]
        from difflib import get_close_matches

        close = get_close_matches(name, classes(), n=1)
        near = f"; did you mean {close[0]!r}?" if close else ""
    raise AttributeError(f"module 'fedflux' has no attribute {name!r}{near}")


def __dir__() -> list[str]:
    from .specs import classes

    return sorted([*__all__, *classes()])

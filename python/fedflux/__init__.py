"""Federated learning with a Julia core, built on Flux, and a thin Python interface.

Example:
    >>> import fedflux
    >>> result = fedflux.run(
    ...     dataset="digits", model="softmax_regression", lr=0.5, engine="reference"
    ... )
    >>> result.accuracy > 0.5
    True
"""

from __future__ import annotations

from typing import Any

from ._version import __version__ as __version__

# Where each public name stands; __init__.pyi says what it is.
_MODULES = {
    "Aggregator": "_extensions.aggregator",
    "Audit": "_privacy.audit",
    "Comparison": "_comparison.comparison",
    "Context": "_extensions.context",
    "DataError": "errors",
    "FedFluxError": "errors",
    "FedFluxWarning": "errors",
    "Interrupted": "errors",
    "JuliaUnavailable": "errors",
    "OptionError": "errors",
    "Result": "_results.result",
    "Rule": "_extensions.rule",
    "Snapshot": "_results.snapshot",
    "audit": "_privacy.audit",
    "compare": "_comparison.compare",
    "epsilon": "_privacy.accountant",
    "noise_multiplier": "_privacy.accountant",
    "partition": "_simulation.run",
    "report": "_report.report",
    "run": "_simulation.run",
    "setup": "_julia.start",
    "sweep": "_comparison.sweep",
}
__all__ = sorted(("__version__", *_MODULES))
_PACKAGES = ("flower", "he", "plots", "sklearn", "tracking")  # loaded when they are named


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, which keeps `import fedflux` fast (PEP 562)."""
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _MODULES:
        return _object_class(name)
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def _object_class(name: str) -> Any:
    """Find the class of an object that an option names, such as `FedProx`."""
    advice = ""
    if not name.startswith("_"):
        from ._options.classes import classes
        from ._options.hints import hint

        if name in classes():
            return classes()[name]
        advice = hint("class", name, (*__all__, *classes()), cutoff=0.7)
    raise AttributeError(f"module 'fedflux' has no attribute {name!r}{advice}")


def __dir__() -> list[str]:
    from ._options.classes import classes

    return sorted([*__all__, *classes()])

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

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._comparison.compare import compare
    from ._comparison.comparison import Comparison
    from ._comparison.sweep import sweep
    from ._extensions.aggregator import Aggregator
    from ._extensions.context import Context
    from ._extensions.rule import Rule
    from ._julia.start import setup
    from ._privacy.accountant import epsilon, noise_multiplier
    from ._privacy.audit import Audit, audit
    from ._report.report import report
    from ._results.result import Result
    from ._simulation.run import partition, run
    from .errors import (
        DataError,
        FedFluxError,
        FedFluxWarning,
        Interrupted,
        JuliaUnavailable,
        OptionError,
    )

__all__ = [
    "Aggregator",
    "Audit",
    "Comparison",
    "Context",
    "DataError",
    "FedFluxError",
    "FedFluxWarning",
    "Interrupted",
    "JuliaUnavailable",
    "OptionError",
    "Result",
    "Rule",
    "Snapshot",
    "__version__",
    "audit",
    "compare",
    "epsilon",
    "noise_multiplier",
    "partition",
    "report",
    "run",
    "setup",
    "sweep",
]

_MODULES = {
    "Aggregator": "_extensions.aggregator",
    "Audit": "_privacy.audit",
    "Comparison": "_comparison.comparison",
    "Context": "_extensions.context",
    "Rule": "_extensions.rule",
    "audit": "_privacy.audit",
    "compare": "_comparison.compare",
    "epsilon": "_privacy.accountant",
    "noise_multiplier": "_privacy.accountant",
    "partition": "_simulation.run",
    "report": "_report.report",
    "run": "_simulation.run",
    "setup": "_julia.start",
    "sweep": "_comparison.sweep",
    "Result": "_results.result",
    "Snapshot": "_results.snapshot",
}
_PACKAGES = (
    "flower",
    "he",
    "plots",
    "sklearn",
)  # public modules, loaded when they are named


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, which keeps `import fedflux` fast (PEP 562)."""
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        return _object_class(name)
    value = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
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

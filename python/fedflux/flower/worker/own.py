"""Functions and rules that the app's own module provides, for the worker to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..._extensions.metrics import Metrics
from ..._extensions.own import own_objects
from ..._options.options import declared
from ...errors import OptionError, shown

ON_THE_SERVER = ("aggregate", "metrics", "rules", "sampling", "server")


def find(reference: str) -> Callable[..., Any]:
    """Import a function by module:name.

    Example:
        >>> find("math:sqrt")(4)
        2.0
    """
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def provided(reference: str) -> dict[str, Any]:
    """Call the user's function, and check what it gives.

    Args:
        reference: to the function, as module:name; "" for none.

    Returns:
        Objects by option.

    Raises:
        OptionError: it gives anything but objects for options of the server.
    """
    if not reference:
        return {}
    given = find(reference)()
    if not isinstance(given, Mapping):
        raise OptionError(
            "own: expected a dict of objects by option, such as {'aggregate': f}, got "
            f"{shown(given)}"
        )
    objects = own_objects(given)
    for name, value in given.items():
        if name not in ON_THE_SERVER or name not in objects:
            expected = ", ".join(ON_THE_SERVER)
            raise OptionError(
                f"own: expected functions and objects for {expected}, got {name}="
                f"{shown(value)}"
            )
    return objects


def beside(objects: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects, the rules among them followed by those that the options name.

    Raises:
        OptionError: another option is given twice: as an object, and as a text.

    Example:
        >>> beside({}, {"rules": ["scaffold"]})
        {}
    """
    joined = dict(objects)
    for name, value in objects.items():
        if name == "rules":
            own = value if isinstance(value, tuple) else (value,)
            joined[name] = (*own, *options["rules"])
        elif options[name] != declared()[name].default:
            raise OptionError(
                f"{name}: own gives it, and the options say {options[name]!r}; give one of "
                "them"
            )
    return joined


def names_of(objects: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names that other options may have: those of metrics."""
    own = objects.get("metrics")
    return {"metrics": own.name} if isinstance(own, Metrics) else {}

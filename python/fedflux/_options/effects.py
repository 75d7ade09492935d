"""Options that change nothing beside the others, by the core's options.toml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .options import column, declared


def without_effect(
    given: Iterable[str], options: Mapping[str, Any], objects: Mapping[str, Any]
) -> Iterator[str]:
    """Say why given options change nothing.

    Args:
        given: the names that the user gave.
        options: every option, checked.
        objects: the Julia objects given for options, by name.

    Yields:
        A message for each.

    Example:
        >>> from .options import check
        >>> list(without_effect(["momentum"], check({"momentum": 0.5}), {}))
        ['momentum has no effect: it needs optimizer=momentum']
    """
    for name in given:
        used = column("used_with").get(name, {}).items()
        beside = column("not_with").get(name, {}).items()
        if any(_holds(other, wanted, options, objects) for other, wanted in used):
            beside = {}.items()
        for other, wanted in beside:
            if options[name] is not None and _holds(other, wanted, options, objects):
                value = options[other]
                shown = ", ".join(value) if isinstance(value, list) else value
                yield f"{name} has no effect: {other}={shown} does not use it"
        conditions = column("only_with").get(name)
        if conditions is None or options[name] is None:
            continue
        if any(declared()[o].default_with and options[o] is None for o in conditions):
            continue  # what decides it is not known yet
        if not any(_holds(o, wanted, options, objects) for o, wanted in conditions.items()):
            needs = (
                f"{option}={' or '.join(wanted)}" if wanted else option
                for option, wanted in sorted(conditions.items())
            )
            yield f"{name} has no effect: it needs {' or '.join(needs)}"


def _holds(
    option: str, wanted: list[str], options: Mapping[str, Any], objects: Mapping[str, Any]
) -> bool:
    """Whether an option is set, or has one of the wanted values, by their beginnings."""
    if option in objects:
        return not wanted
    value = options[option]
    if not wanted:
        return bool(value != declared()[option].default)
    values = value if isinstance(value, list) else [value]
    return any(str(v).startswith(tuple(wanted)) for v in values)

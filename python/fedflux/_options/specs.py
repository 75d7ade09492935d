"""The names and parameters that an option's text may have: `name(parameter=value, ...)`.

The core's specs.toml declares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..errors import OptionError
from .hints import hint, suggestion
from .option import Option
from .tables import read_table

MAX_LENGTH = 1000
_SPEC = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_PARAMETER = re.compile(
    r"""
    \s* (?:
        (\w+) \s* = \s* ( "[^"]*" | \[[^\]]*\] | [^,\s\[\]"]+ ) \s* (?: , | $ )
        | ( "[^"]*" | \[[^\]]*\] | [^,\s\[\]"=]+ ) \s* (?: , | $ )  # without its name
        | (\S.*)  # anything else is an error
    )
    """,
    re.DOTALL | re.VERBOSE,
)


@cache
def known(kind: str) -> Mapping[str, Mapping[str, Option]]:
    """Read the declared objects of one kind.

    Args:
        kind: such as "partition".

    Returns:
        The parameters of each object, by its name.

    Example:
        >>> dict(known("aggregate")["mean"])
        {}
    """
    return {
        name: {
            parameter: Option.declare(f"{kind} {name}, parameter {parameter}", declaration)
            for parameter, declaration in entry.get("params", {}).items()
        }
        for name, entry in read_table("specs.toml").get(kind, {}).items()
    }


def parse(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """Read and check the name of an object and its parameters.

    Args:
        kind: the kind of the object, such as "partition".
        text: `name` or `name(parameter=value, ...)`. A value is a number, true, false, a
            word, a "string" or a [list]. The first ones may stand without their names.

    Returns:
        The name, and every parameter, with the defaults filled in.

    Raises:
        OptionError: an unknown name or parameter, a wrong value, or unreadable text.

    Example:
        >>> parse("aggregate", "Mean()")
        ('mean', {})
    """
    match = _SPEC.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise OptionError(
            f"{kind}: expected name or name(parameter=value, ...), got {text[:80]!r}"
        )
    name, names = match[1].lower(), known(kind)
    if name not in names:
        raise OptionError(
            f"{kind}: expected one of {', '.join(names)}, got {match[1]!r}"
            f"{hint(kind, name, names)}"
        )
    given = _parameters(kind, name, text, match[2] or "")
    return name, {
        parameter: option.check(given[parameter])
        if parameter in given
        else _default(option)
        for parameter, option in names[name].items()
    }


def _parameters(kind: str, name: str, text: str, inside: str) -> dict[str, Any]:
    """Read the parameters between the brackets of `text`."""
    declared = known(kind)[name]
    order = list(declared)
    given: dict[str, Any] = {}
    for i, match in enumerate(_PARAMETER.finditer(inside)):
        parameter, value, alone, rest = match.groups()
        if rest is not None:
            raise OptionError(
                f"{kind}: can't read {text!r} at {rest!r}; expected parameter=value, ..."
            )
        if alone is not None:
            if i >= len(order) or list(given) != order[:i]:
                takes = f"it takes {', '.join(order) or 'none'}"
                raise OptionError(
                    f"{kind}: can't read {text!r} at {alone!r}; expected parameter=value, "
                    f"...; {takes}"
                )
            parameter, value = order[i], alone
        if parameter in given:
            raise OptionError(f"{kind}: {text!r} gives {parameter} twice")
        if parameter not in declared:
            takes = ", ".join(declared) or "none"
            raise OptionError(
                f"{kind} {name}: no parameter {parameter!r}; it takes {takes}"
                f"{suggestion(parameter, declared)}"
            )
        given[parameter] = _value(value)
    return given


def _default(option: Option) -> Any:
    if option.required:
        raise OptionError(f"{option.name}: expected a value, got none")
    return option.default


def _value(text: str) -> Any:
    if text.startswith('"'):
        return text[1:-1]
    if text.startswith("["):
        return [_value(part.strip()) for part in text[1:-1].split(",") if part.strip()]
    if text in ("true", "false"):
        return text == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text

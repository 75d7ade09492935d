"""Options that name an object: `name` or `name(parameter=value, ...)`, as the core's specs.toml declares them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from ._core import core_path
from .errors import OptionError
from .options import Option, declare

MAX_LENGTH = 1000
_SPEC = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.S)
_PARAMETER = re.compile(r"""\s*(?:(\w+)\s*=\s*("[^"]*"|\[[^\]]*\]|[^,\s\[\]"]+)\s*(?:,|$)|(\S.*))""", re.S)


@cache
def known(kind: str) -> Mapping[str, Mapping[str, Option]]:
    """Read what may be named.

    Args:
        kind: of object, such as "partition".

    Returns:
        The declared parameters of each name.

    Example:
        >>> dict(known("aggregate")["mean"])
        {}
    """
    with (core_path() / "src" / "specs.toml").open("rb") as file:
        table = tomllib.load(file).get(kind, {})
    return {
        name: {p: declare(f"{kind} {name}, parameter {p}", d) for p, d in entry.get("params", {}).items()}
        for name, entry in table.items()
    }


def parse(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """Read and check the name of an object and its parameters.

    Args:
        kind: of object, such as "partition".
        text: `name` or `name(parameter=value, ...)`; values are numbers, true, false, words, "strings" or [lists].

    Returns:
        The name, and every parameter, with the defaults filled in.

    Raises:
        OptionError: an unknown name or parameter (the nearest is told), a wrong value, or text that can't be read.

    Example:
        >>> parse("aggregate", "Mean()")
        ('mean', {})
    """
    match = _SPEC.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise OptionError(f"{kind}: expected name or name(parameter=value, ...), got {text[:80]!r}")
    name, declared = match[1].lower(), known(kind)
    if name not in declared:
        raise OptionError(f"{kind}: expected one of {', '.join(declared)}, got {match[1]!r}{_near(name, declared)}")
    given: dict[str, Any] = {}
    for part in _PARAMETER.finditer(match[2] or ""):
        if part[3] is not None:
            raise OptionError(f"{kind}: {text!r} can't be read at {part[3]!r}; expected parameter=value, ...")
        if part[1] in given:
            raise OptionError(f"{kind}: {text!r} gives {part[1]} twice")
        if part[1] not in declared[name]:
            takes = ", ".join(declared[name]) or "none"
            raise OptionError(
                f"{kind} {name}: no parameter {part[1]!r}; it takes {takes}{_near(part[1], declared[name])}"
            )
        given[part[1]] = _value(part[2])
    return name, {p: d.check(given[p]) if p in given else _default(d) for p, d in declared[name].items()}


def _default(parameter: Option) -> Any:
    if parameter.default is None and not parameter.optional:
        raise OptionError(f"{parameter.name}: expected a value, got none")
    return parameter.default


def _near(name: str, names: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


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

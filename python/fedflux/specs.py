"""Options that name an object: `name` or `name(parameter=value, ...)`, as the core's specs.toml declares them."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from ._core import core_path
from .errors import OptionError
from .options import Option, declare

MAX_LENGTH = 1000
_SPEC = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.S)
_PARAMETER = re.compile(r"""\s*(?:(\w+)\s*=\s*("[^"]*"|\[[^\]]*\]|[^,\s\[\]"]+)\s*(?:,|$)|(\S.*))""", re.S)


class Spec:
    """An object of a kind that an option names, such as `fedflux.FedProx(mu=0.01)`; `str()` gives the option's text.

    Each name in specs.toml has a class of its own, a frozen dataclass of its parameters. A wrong parameter raises
    `OptionError`.

    Example:
        >>> str(classes()["FedProx"](mu=0.5))
        'fedprox(mu=0.5)'
    """

    kind: ClassVar[str]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        for name, option in known(self.kind)[self.name].items():
            value = option.check(getattr(self, name))
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in known(self.kind)[self.name]}
        given = ", ".join(f"{name}={_text(value)}" for name, value in values.items() if value is not None)
        return f"{self.name}({given})" if given else self.name


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, str) and '"' in value:
        raise OptionError(f"expected text without double quotes, got {value!r}")
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


@cache
def classes() -> Mapping[str, type[Spec]]:
    """Make the classes of all objects that options may name.

    Returns:
        Class by name.

    Example:
        >>> classes()["IID"]()
        IID()
    """
    made = {}
    for kind, entries in _table().items():
        for name, entry in entries.items():
            options = sorted(known(kind)[name].items(), key=lambda item: not _required(item[1]))
            fields = [(p, Any) if _required(o) else (p, Any, _default_field(o)) for p, o in options]
            text = f"{entry['help'][:1].upper()}{entry['help'][1:]}."
            namespace = {"kind": kind, "name": name, "__doc__": text, "__module__": "fedflux"}
            made[entry["class"]] = dataclasses.make_dataclass(
                entry["class"], fields, bases=(Spec,), namespace=namespace, frozen=True
            )
    return made


def _required(option: Option) -> bool:
    return option.default is None and not option.optional


def _default_field(option: Option) -> Any:
    default = option.default
    return dataclasses.field(default=tuple(default) if isinstance(default, list) else default)


@cache
def _table() -> Mapping[str, Any]:
    with (core_path() / "src" / "specs.toml").open("rb") as file:
        return tomllib.load(file)


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
    return {
        name: {p: declare(f"{kind} {name}, parameter {p}", d) for p, d in entry.get("params", {}).items()}
        for name, entry in _table().get(kind, {}).items()
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
    if _required(parameter):
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

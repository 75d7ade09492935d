"""The options of a run: declared by the core's options.toml, checked here."""

from __future__ import annotations

import difflib
import math
import numbers
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ._core import core_path
from .errors import FedFluxError, OptionError

KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "ints": "a list of integers",
    "floats": "a list of numbers",
    "strs": "a list of strings",
    "spec": "name or name(parameter=value, ...)",
    "specs": "a list of name or name(parameter=value, ...)",
}


@dataclass(frozen=True)
class Option:
    """One declared option.

    Attributes:
        name: as `run` takes it.
        kind: one of `KINDS`.
        optional: whether it may be left unset (None).
        default: None where it is unset by default.
        choices: the values allowed; empty where any is.
        min, max: inclusive bounds, or None.
        above: an exclusive lower bound, or None.
        group: the heading that help lists it under.
        help: one line.
        names: for a spec: the kind of object that it names, in specs.toml.
        flag: the name on the command line.
    """

    name: str
    kind: str
    optional: bool
    default: Any
    choices: tuple[Any, ...]
    min: float | None
    max: float | None
    above: float | None
    group: str
    help: str
    names: str = ""
    flag: str = ""

    def check(self, value: Any) -> Any:
        """Check one value.

        Args:
            value: what the user gave.

        Returns:
            The value as a plain Python object; an integer becomes a float where the option is one.

        Raises:
            OptionError: a wrong type, a value out of bounds, or not one of the choices.

        Example:
            >>> declared()["lr"].check(1)
            1.0
        """
        if value is None:
            if self.optional:
                return None
            raise self._type_error(value)
        if self.kind.endswith("s"):
            return self._check_list(value)
        value = self._convert(self.kind, value)
        self._check_value(value)
        return value

    def parse(self, text: str) -> Any:
        """Read a value from a string, as the command line gives it; lists are separated by commas.

        Example:
            >>> declared()["hidden"].parse("64,32")
            [64, 32]
        """
        try:
            if not self.kind.endswith("s"):
                return self.check(_read(self.kind, text))
            parts = _split(text.strip().removeprefix("[").removesuffix("]"))
            return self.check([_read(self.kind[:-1], part.strip()) for part in parts if part.strip()])
        except OptionError:
            raise
        except ValueError:
            raise self._type_error(text) from None

    def _check_list(self, value: Any) -> list[Any]:
        if self.kind == "specs" and (isinstance(value, str) or _is_spec(value)):
            value = [value]  # one will do
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise self._type_error(value)
        items = [self._convert(self.kind[:-1], item) for item in value]
        for item in items:
            self._check_value(item)
        return items

    def _convert(self, kind: str, value: Any) -> Any:
        is_bool = isinstance(value, bool) or type(value).__name__ == "bool"  # the second is numpy's, not imported here
        if kind == "bool" and is_bool:
            return bool(value)
        if kind == "int" and isinstance(value, numbers.Integral) and not is_bool:
            return int(value)
        if kind == "float" and isinstance(value, numbers.Real) and not is_bool:
            if not math.isfinite(value):
                raise OptionError(f"{self.name}: expected a finite number, got {value!r}")
            return float(value)
        if kind == "str" and isinstance(value, str | os.PathLike):
            return str(os.fspath(value))
        if kind == "spec" and isinstance(value, str):
            from .specs import parse  # specs are checked with options, and so import this module

            parse(self.names, value)
            return value
        if kind == "spec" and _is_spec(value):
            if value.kind != self.names:
                raise OptionError(f"{self.name}: expected a {self.names}, got {value!r}, a {value.kind}")
            return str(value)
        raise self._type_error(value)

    def _check_value(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            near = difflib.get_close_matches(str(value), map(str, self.choices), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"{self.name}: expected one of {', '.join(map(str, self.choices))}, got {value!r}{hint}")
        if self.min is not None and value < self.min:
            raise OptionError(f"{self.name}: expected at least {self.min}, got {value!r}")
        if self.above is not None and value <= self.above:
            raise OptionError(f"{self.name}: expected more than {self.above}, got {value!r}")
        if self.max is not None and value > self.max:
            raise OptionError(f"{self.name}: expected at most {self.max}, got {value!r}")

    def _type_error(self, value: Any) -> OptionError:
        unset = " (or None)" if self.optional else ""
        return OptionError(f"{self.name}: expected {KINDS[self.kind]}{unset}, got {value!r} ({type(value).__name__})")


@cache
def declared() -> Mapping[str, Option]:
    """Read the table of options.

    Returns:
        Option by name, in the order of the table.

    Example:
        >>> declared()["clients"].default
        10
    """
    path = core_path() / "src" / "options.toml"
    with path.open("rb") as file:
        table = tomllib.load(file)
    return {name: declare(name, entry) for name, entry in table.items()}


def _is_spec(value: Any) -> bool:
    from .specs import Spec

    return isinstance(value, Spec)


def _split(text: str) -> list[str]:
    """Split at the commas that are not between brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _read(kind: str, text: str) -> Any:
    if kind == "bool":
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)
    return int(text) if kind == "int" else float(text) if kind == "float" else text


def declare(name: str, entry: Mapping[str, Any]) -> Option:
    """Read one entry of options.toml, or one parameter in specs.toml."""
    kind = entry["type"].removesuffix("?")
    if kind not in KINDS:
        raise FedFluxError(f"{name}: declared with the unknown type {entry['type']!r}; reinstall fedflux")
    return Option(
        name=name,
        kind=kind,
        optional=entry["type"].endswith("?"),
        default=entry.get("default"),
        choices=tuple(entry.get("choices", ())),
        min=entry.get("min"),
        max=entry.get("max"),
        above=entry.get("above"),
        group=entry.get("group", "Other"),
        help=entry.get("help", ""),
        names=entry.get("kind", name),
        flag=entry.get("flag", name.replace("_", "-")),
    )


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a run and fill in the defaults.

    Args:
        given: values by option name; None stands for unset.

    Returns:
        Every declared option, in the table's order; None where one is unset.

    Raises:
        OptionError: an unknown option (the nearest name is told), a wrong type, a value out of bounds, not one of the
            choices, or two values that don't fit each other.

    Example:
        >>> check({"clients": 3})["clients"]
        3
    """
    table = declared()
    for name in given:
        if name not in table:
            raise OptionError(unknown(name))
    options = {
        name: option.check(given[name]) if given.get(name) is not None else option.default
        for name, option in table.items()
    }
    for name in given:  # None is no value for an option that can't be unset
        if given[name] is None:
            table[name].check(None)
    cohort = options.get("clients_per_round")
    by_owner = options["partition"].startswith("owner")  # as many clients as there are owners
    if cohort is not None and cohort > options["clients"] and not by_owner:
        raise OptionError(f"clients_per_round: expected at most clients={options['clients']}, got {cohort}")
    return options


def unknown(name: str) -> str:
    """Say that there is no such option, and which one may have been meant.

    Example:
        >>> unknown("round")
        "unknown option 'round'; did you mean 'rounds'?"
    """
    near = difflib.get_close_matches(name, declared(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(declared())}"
    return f"unknown option {name!r}; {hint}"

"""A declared option: its type, bounds and choices, and the checks of a value."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from ..errors import FedFluxError, OptionError, shown
from .hints import hint


@dataclass(frozen=True)
class Option:
    """One declared option, or one parameter of an object in specs.toml.

    Attributes:
        name: the name in error messages.
        kind: a key of `KINDS`.
        optional: whether the option may be unset (None).
        default: None if it is unset by default.
        choices: the values allowed; empty if all are.
        names_of: another option; the names of the objects given for it are choices too.
        described: whether a list in JSON, which says what to build, is allowed too.
        min, max: inclusive bounds, or None.
        above: an exclusive lower bound, or None.
        group: the heading in the help.
        help: one line.
        flag: the name on the command line.
        default_with: another default, `value`, and the values of other options beside which
            it holds; empty if there is none.
        words: what may be given in place of a list.
        single: whether a single number may be given in place of a list.
    """

    name: str
    kind: str
    optional: bool
    default: Any = None
    choices: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    above: float | None = None
    group: str = "Other"
    help: str = ""
    flag: str = ""
    default_with: Mapping[str, Any] = field(default_factory=dict, hash=False)
    words: tuple[str, ...] = ()
    single: bool = False
    described: bool = False
    names_of: str = ""

    KINDS: ClassVar[Mapping[str, str]] = {
        "int": "an integer",
        "float": "a number",
        "str": "a string",
        "bool": "true or false",
        "ints": "a list of integers",
        "floats": "a list of numbers",
        "strs": "a list of strings",
    }

    @classmethod
    def declare(cls, name: str, entry: Mapping[str, Any]) -> Self:
        """Make an option from its entry in options.toml or specs.toml.

        Raises:
            FedFluxError: the entry has an unknown type.

        Example:
            >>> Option.declare("n", {"type": "int?", "min": 1}).optional
            True
        """
        kind = entry["type"].removesuffix("?")
        if kind not in cls.KINDS:
            raise FedFluxError(
                f"{name}: expected a type of {', '.join(cls.KINDS)} in the core's tables, "
                f"got {entry['type']!r}; reinstall fedflux"
            )
        own = {f.name for f in fields(cls)} - {"name", "kind", "optional"}
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) and key != "default" else value
            for key, value in entry.items()
            if key in own
        }
        known.setdefault("flag", name.replace("_", "-"))
        return cls(name, kind, entry["type"].endswith("?"), **known)

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        single = "a number or " if self.single else ""
        words = "".join(f", or {word}" for word in self.words)
        unset = " (or None)" if self.optional else ""
        return single + self.KINDS[self.kind] + words + unset

    @property
    def special(self) -> str:
        """The other default and its conditions, in words; empty if there is none.

        Example:
            >>> entry = {"type": "float", "default_with": {"value": 0.3, "dataset": "d"}}
            >>> Option.declare("lr", entry).special
            '0.3 with dataset=d'
        """
        conditions = [f"{o}={v}" for o, v in self.default_with.items() if o != "value"]
        if not conditions:
            return ""
        return f"{self.default_with['value']} with {', '.join(conditions)}"

    @property
    def required(self) -> bool:
        """Whether the option has no default and can't be unset."""
        return self.default is None and not self.optional

    def check(self, value: Any) -> Any:
        """Check a value.

        Args:
            value: the value from the user.

        Returns:
            The value as a plain Python object; an integer becomes a float for a float
            option.

        Raises:
            OptionError: the value has a wrong type, is out of bounds or not a choice.

        Example:
            >>> Option.declare("lr", {"type": "float"}).check(1)
            1.0
        """
        if value is None:
            if self.optional:
                return None
            raise self._type_error(value)
        if isinstance(value, str) and value in self.words:
            return value
        if self.single and isinstance(value, numbers.Real):
            value = self._convert("float", value)
        elif self.kind.endswith("s"):
            return self._check_list(value)
        else:
            value = self._convert(self.kind, value)
        self._check_value(value)
        return value

    def parse(self, text: str) -> Any:
        """Read and check a value from the command line; commas separate list items.

        Example:
            >>> Option.declare("hidden", {"type": "ints"}).parse("64,32")
            [64, 32]
        """
        try:
            if not self.kind.endswith("s"):
                return self.check(_read(self.kind, text))
            if not text.strip():
                raise self._type_error(text)
            if text.strip() in self.words:
                return self.check(text.strip())
            if self.single and "," not in text and "[" not in text:
                return self.check(float(text))
            parts = _split(text.strip().removeprefix("[").removesuffix("]"))
            items = [part.strip() for part in parts]
            return self.check([_read(self.kind[:-1], item) for item in items if item])
        except OptionError:
            raise
        except ValueError:
            raise self._type_error(text) from None

    def _check_list(self, value: Any) -> list[Any]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise self._type_error(value)
        items = [self._convert(self.kind[:-1], item) for item in value]
        for item in items:
            self._check_value(item)
        return items

    def _convert(self, kind: str, value: Any) -> Any:
        # NumPy's bool is compared by name, since this module does not import NumPy
        is_bool = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
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
        raise self._type_error(value)

    def _check_value(self, value: Any) -> None:
        described = self.described and value.lstrip().startswith("[")
        if self.choices and value not in self.choices and not described:
            choices = [str(choice) for choice in self.choices]
            raise OptionError(
                f"{self.name}: expected one of {', '.join(choices)}, got {value!r}"
                f"{hint(self.name, str(value), choices)}"
            )
        if self.min is not None and value < self.min:
            raise OptionError(f"{self.name}: expected at least {self.min}, got {value!r}")
        if self.above is not None and value <= self.above:
            raise OptionError(
                f"{self.name}: expected more than {self.above}, got {value!r}"
            )
        if self.max is not None and value > self.max:
            raise OptionError(f"{self.name}: expected at most {self.max}, got {value!r}")

    def _type_error(self, value: Any) -> OptionError:
        return OptionError(f"{self.name}: expected {self.expected}, got {shown(value)}")


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _read(kind: str, text: str) -> Any:
    match kind:
        case "bool":
            return _BOOLS.get(text.lower(), text)
        case "int":
            return int(text)
        case "float":
            return float(text)
        case _:
            return text

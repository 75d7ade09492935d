"""The options of a run: the table that the core declares, and its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Self

from ..errors import OptionError
from .classes import Spec
from .hints import hint
from .option import Option
from .specs import parse
from .tables import read_table
from .target_metric import target

# What a comparison decides for each of its runs.
DECIDED = ("seed", "checkpoint", "resume", "engine")


@dataclass(frozen=True)
class SpecOption(Option):
    """An option that names one object (spec) or several (specs).

    Attributes:
        spec_kind: the kind of the objects, a table of specs.toml.
        names: those of the kind that the option takes, or empty if it takes all.
    """

    spec_kind: str = ""
    names: tuple[str, ...] = ()

    KINDS: ClassVar[Mapping[str, str]] = {
        "spec": "name or name(parameter=value, ...)",
        "specs": "a list of name or name(parameter=value, ...)",
    }

    @classmethod
    def declare(cls, name: str, entry: Mapping[str, Any]) -> Self:
        """Make an option from its entry in options.toml."""
        return replace(super().declare(name, entry), spec_kind=entry.get("kind", name))

    def _check_list(self, value: Any) -> list[Any]:
        return super()._check_list([value] if isinstance(value, str | Spec) else value)

    def _convert(self, kind: str, value: Any) -> Any:
        if isinstance(value, str):
            name, _ = parse(self.spec_kind, value)
            if self.names and name not in self.names:
                names = ", ".join(self.names)
                raise OptionError(f"{self.name}: expected one of {names}, got {name!r}")
            return value
        if not isinstance(value, Spec):
            raise self._type_error(value)
        if value.kind != self.spec_kind:
            raise OptionError(
                f"{self.name}: expected an object of kind {self.spec_kind}, "
                f"got {value!r} of kind {value.kind}"
            )
        return str(value)


def declare(name: str, entry: Mapping[str, Any]) -> Option:
    """Make an option from its entry in options.toml.

    Example:
        >>> declare("clients", {"type": "int", "default": 10}).check(5)
        5
    """
    names_objects = entry["type"].startswith("spec")
    return (SpecOption if names_objects else Option).declare(name, entry)


@cache
def declared() -> Mapping[str, Option]:
    """Read the table of options.

    Returns:
        The options by name, in the order of the table.

    Example:
        >>> declared()["clients"].default
        10
    """
    return {
        name: declare(name, entry) for name, entry in read_table("options.toml").items()
    }


def option_named(name: str) -> Option:
    """Return the option of this name.

    Raises:
        OptionError: there is none; the message suggests one.

    Example:
        >>> option_named("clients").default
        10
    """
    if name not in declared():
        raise OptionError(unknown(name))
    return declared()[name]


@cache
def column(name: str) -> Mapping[str, Any]:
    """Read a column of the table of options.

    Args:
        name: a key of the entries in options.toml, which explains each.

    Returns:
        The values by option, of those that have one, in the order of the table.

    Example:
        >>> column("path")
        {'dataset': True, 'data_dir': True, 'checkpoint': True}
    """
    table = read_table("options.toml")
    return {option: entry[name] for option, entry in table.items() if name in entry}


def check(
    given: Mapping[str, Any], names: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Check the options of a run and fill in the defaults.

    Args:
        given: values by option name, or None for unset.
        names: of the objects of the user's own that are given for options, by option.

    Returns:
        Every declared option in the order of the table; None if unset, and for a default
        that hangs on the data set which `auto` has yet to choose, see `settled`.

    Raises:
        OptionError: an unknown option, a wrong type, a value out of bounds or not among the
            choices, or two values that don't fit together.

    Example:
        >>> check({"clients": 3})["clients"]
        3
    """
    table = declared()
    for name in given:
        option_named(name)
    options = {
        name: option.default
        if given.get(name) is None
        else _with_names(option, names or {}).check(given[name])
        for name, option in table.items()
    }
    for name, option in table.items():
        if given.get(name) is None and option.default_with:
            options[name] = _default_beside(option, options)
    for name in given:  # None is an error for an option that can't be unset
        if given[name] is None:
            table[name].check(None)
    if options["target_metric"] is not None:
        target(options["target_metric"])
    cohort = options.get("clients_per_round")
    by_number = not by_owner(options)  # it has as many clients as owners
    if cohort is not None and cohort > options["clients"] and by_number:
        raise OptionError(
            f"clients_per_round: expected at most clients={options['clients']}, got "
            f"{cohort}"
        )
    return options


def by_owner(options: Mapping[str, Any]) -> bool:
    """Whether each owner of samples is a client.

    Example:
        >>> by_owner({"partition": "owner"}), by_owner({"partition": "iid"})
        (True, False)
    """
    partition: str = options["partition"]
    return partition.startswith(("owner", "ByOwner"))


def _with_names(option: Option, names: Mapping[str, Sequence[str]]) -> Option:
    """Return the option with the names of the user's own objects among its choices."""
    own = names.get(option.names_of, ())
    return replace(option, choices=(*option.choices, *own)) if own else option


def settled(options: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Return the options with the defaults that hang on the data set, now it is known.

    Args:
        options: every option, checked.
        dataset: the name of the data set; any other for the user's own data.

    Example:
        >>> options = check({"lr": 0.1})
        >>> options["model"], settled(options, "digits")["model"]
        (None, 'mlp')
        >>> settled(options, "arrays")["model"], settled(options, "digits")["lr"]
        ('case_study_cnn', 0.1)
    """
    beside = {**options, "dataset": dataset}
    return {
        name: _default_beside(option, beside)
        if option.default_with and options[name] is None
        else options[name]
        for name, option in declared().items()
    }


def _default_beside(option: Option, options: Mapping[str, Any]) -> Any:
    """Return the default beside these options, or None if `auto` has yet to decide it."""
    conditions = dict(option.default_with)
    value = conditions.pop("value")
    if any(options[name] not in (wanted, "auto") for name, wanted in conditions.items()):
        return option.default
    return None if options["dataset"] == "auto" else value


def unknown(name: str) -> str:
    """Return the error message for an unknown option.

    Example:
        >>> unknown("round")
        "unknown option 'round'; did you mean 'rounds'?"
    """
    near = hint("argument", name, ()) or hint("option", name, declared())
    others = f"; the options are {', '.join(declared())}"
    return f"unknown option {name!r}{near or others}"

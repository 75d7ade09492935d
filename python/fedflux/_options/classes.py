"""Objects that options name, such as `FedProx(mu=0.01)`; specs.toml declares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from ..errors import OptionError
from .option import Option
from .specs import known
from .tables import read_table


class Spec:
    """An object that an option names, such as `fedflux.FedProx(mu=0.01)`.

    `str()` returns the text of the option. Each name in specs.toml has its own class, a
    frozen dataclass of its parameters. A wrong parameter raises `OptionError`.

    Example:
        >>> str(classes()["FedProx"](mu=0.5))
        'fedprox(mu=0.5)'
    """

    kind: ClassVar[str]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        for name, option in known(self.kind)[self.name].items():
            value = option.check(getattr(self, name))
            object.__setattr__(
                self, name, tuple(value) if isinstance(value, list) else value
            )

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in known(self.kind)[self.name]}
        parameters = ", ".join(
            f"{name}={_text(value)}" for name, value in values.items() if value is not None
        )
        return f"{self.name}({parameters})" if parameters else self.name


@cache
def classes() -> Mapping[str, type[Spec]]:
    """Make the classes of all objects that options may name.

    Returns:
        The classes by name.

    Example:
        >>> classes()["IID"]()
        IID()
    """
    return {
        entry["class"]: _make_class(kind, name, entry)
        for kind, entries in read_table("specs.toml").items()
        for name, entry in entries.items()
    }


def _make_class(kind: str, name: str, entry: Mapping[str, Any]) -> type[Spec]:
    parameters = sorted(known(kind)[name].items(), key=lambda item: not item[1].required)
    fields = [
        (p, Any) if o.required else (p, Any, _default_field(o)) for p, o in parameters
    ]
    text = f"{entry['help'][:1].upper()}{entry['help'][1:]}."
    namespace = {"kind": kind, "name": name, "__doc__": text, "__module__": "fedflux"}
    return dataclasses.make_dataclass(
        entry["class"], fields, bases=(Spec,), namespace=namespace, frozen=True
    )


def _default_field(option: Option) -> Any:
    default = option.default
    return dataclasses.field(
        default=tuple(default) if isinstance(default, list) else default
    )


def _text(value: Any) -> str:
    """Write a parameter's value as `parse` reads it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    if '"' in value:
        raise OptionError(f"expected text without double quotes, got {value!r}")
    return f'"{value}"'

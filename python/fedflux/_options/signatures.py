"""The signature and the docstring of functions that take options, from their tables."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from .options import declared

WIDTH = 88


def describe(function: Callable[..., Any], names: Iterable[str]) -> None:
    """Show each option in a function's signature and docstring, in place of `**options`.

    `help`, `function?` in IPython and completion then know them.

    Args:
        function: it takes `**options`; changed in place.
        names: of the options that it takes.

    Example:
        >>> def f(*, owner=None, **options): "Do it."
        >>> describe(f, ["lr", "rounds"])
        >>> str(inspect.signature(f))
        "(*, owner=None, lr: 'float' = 0.05, rounds: 'int' = 10)"
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=declared()[name].default,
            annotation=declared()[name].kind,
        )
        for name in names
    ]
    parameters = [*own, *options]
    setattr(function, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
    text = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = f"{text}\n\n{listing(p.name for p in options)}\n"


def listing(names: Iterable[str]) -> str:
    """List options by group: name, default and what it does.

    Example:
        >>> print(listing(["lr"]))
        Options, by group:
        <BLANKLINE>
        Local training
            lr = 0.05: learning rate of the clients' optimizer (0.3 with dataset=digits,
                optimizer=sgd)
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        option = declared()[name]
        special = f" ({option.special})" if option.special else ""
        line = f"{name} = {option.default!r}: {option.help}{special}"
        wrapped = textwrap.fill(
            line, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8
        )
        groups.setdefault(option.group, []).append(wrapped)
    parts = ("\n".join([group, *lines]) for group, lines in groups.items())
    return "\n\n".join(["Options, by group:", *parts])

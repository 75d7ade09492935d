"""What to write for a name that other libraries use; the core's hints.toml lists them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any

from .tables import read_table


def hint(section: str, name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of the message about an unknown name.

    Args:
        section: of hints.toml: option, argument, class, the name of an option, or a kind of
            objects.
        name: what the user wrote.
        names: the known names; the nearest is suggested where hints.toml has none.
        cutoff: how near a known name must be, from 0 to 1 (the same).

    Returns:
        The text; empty if nothing is known and nothing is near.

    Example:
        >>> hint("option", "learning_rate", []), hint("model", "lenett", ["lenet"])
        ("; did you mean 'lr'?", "; did you mean 'lenet'?")
    """
    found = _table(section).get(_plain(name))
    if found is None:
        return suggestion(name, names, cutoff)
    return f"; {found}" if " " in found else f"; did you mean {found!r}?"


def suggestion(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Suggest the nearest of the known names; empty if none is near.

    Example:
        >>> suggestion("lenett", ["lenet", "mlp"])
        "; did you mean 'lenet'?"
    """
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


@cache
def _table(section: str) -> dict[str, str]:
    entries: dict[str, Any] = read_table("hints.toml").get(section, {})
    return {_plain(name): text for name, text in entries.items()}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")

"""What to write for a name that other libraries use; the core's hints.toml lists them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from .tables import read_table

NEAR = 0.5  # see `suggestion`


def hint(section: str, name: str, names: Iterable[str], cutoff: float = NEAR) -> str:
    """Return the end of the message about an unknown name.

    Args:
        section: of hints.toml: option, argument, class, the name of an option, or a kind of
            objects.
        name: what the user wrote.
        names: the known names; the nearest is suggested if hints.toml has none.
        cutoff: how near a known name must be, see `suggestion`.

    Returns:
        The text, or empty if nothing is known and nothing is near.

    Example:
        >>> hint("option", "learning_rate", []), hint("model", "lenett", ["lenet"])
        ("; did you mean 'lr'?", "; did you mean 'lenet'?")
    """
    found = _table(section).get(_plain(name))
    if found is None:
        return suggestion(name, names, cutoff)
    return f"; {found}" if " " in found else f"; did you mean {found!r}?"


def suggestion(name: str, names: Iterable[str], cutoff: float = NEAR) -> str:
    """Suggest the known name that takes the fewest edits, or nothing if none is near.

    Args:
        name: what the user wrote.
        names: the known names.
        cutoff: the share of the longer name that must not need an edit.

    Example:
        >>> suggestion("lenett", ["lenet", "mlp"])
        "; did you mean 'lenet'?"
    """
    near = min(names, key=lambda known: (edits(name, known), known), default="")
    if not near or edits(name, near) > (1 - cutoff) * max(len(name), len(near)):
        return ""
    return f"; did you mean {near!r}?"


def edits(a: str, b: str) -> int:
    """Count the letters to insert, remove, change or swap with the next, as the core does.

    Example:
        >>> edits("kitten", "sitting"), edits("sdg", "sgd")
        (3, 1)
    """
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row, above = [i], rows[-1]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
            if i > 1 < j and x + y == b[j - 2] + a[i - 2]:
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


@cache
def _table(section: str) -> dict[str, str]:
    entries: dict[str, Any] = read_table("hints.toml").get(section, {})
    return {_plain(name): text for name, text in entries.items()}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")

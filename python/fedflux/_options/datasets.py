"""The names of data sets, which the core's datasets.toml declares."""

from __future__ import annotations

import re
from typing import Any

from .tables import read_table

TABLE = "datasets.toml"
_NAMED = re.compile(r"(\w+)(?::.*|\(.*\)\s*)?", re.DOTALL)


def entry(text: str) -> dict[str, Any] | None:
    """Return what the table says of the data set that a text names, or None.

    Example:
        >>> entry("emnist:letters")["splits"][0], entry("a.npz")
        ('balanced', None)
    """
    match = _NAMED.fullmatch(text)
    return read_table(TABLE).get(match[1]) if match else None


def is_named(text: str) -> bool:
    """Whether a text names a data set that the core loads, with what stands behind it.

    Example:
        >>> is_named("auto"), is_named("fcube(samples=80)"), is_named("a.npz")
        (True, True, False)
    """
    return text == "auto" or entry(text) is not None


def by_mldatasets(text: str) -> bool:
    """Whether MLDatasets.jl reads the data set of this text.

    Example:
        >>> by_mldatasets("svhn"), by_mldatasets("digits")
        (True, False)
    """
    return text == "auto" or bool((entry(text) or {}).get("mldatasets"))


def listed() -> str:
    """Return the names of all data sets, for messages.

    Example:
        >>> listed()[:30]
        'auto, mnist, fashionmnist, cif'
    """
    names = ["auto"]
    for name, facts in read_table(TABLE).items():
        behind = ":PATH" if facts.get("path") else "(…)" if facts.get("params") else ""
        names.append(name + behind)
    return ", ".join(names)

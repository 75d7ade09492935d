"""Layers in a row, with sums of branches: what a description says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Entries = dict[str, Any]


def layer(kind: str, **rest: Any) -> Entries:
    """Return a layer of a description.

    Example:
        >>> layer("dropout", p=0.5)
        {'layer': 'dropout', 'p': 0.5}
    """
    return {"layer": kind, **rest}


@dataclass(frozen=True)
class Layer:
    """A layer of a description.

    Attributes:
        entries: as the description has them.
        module: the dotted name of the module that has its weights; empty without weights.
        level: of that module's layers, if it is a recurrent one of several.
    """

    entries: Entries
    module: str = ""
    level: int = 0

    @property
    def kind(self) -> str:
        """The name of the layer's kind."""
        return str(self.entries["layer"])


@dataclass(frozen=True)
class Sum:
    """The sum of branches that take the same input; an empty one passes it on."""

    branches: list[Row]


Row = list[Layer | Sum]


def flat(row: Row) -> Iterator[Layer]:
    """Yield the layers of a row and of its branches."""
    for one in row:
        if isinstance(one, Layer):
            yield one
        else:
            for branch in one.branches:
                yield from flat(branch)


def places(row: Row, path: str = "layers") -> Iterator[tuple[str, Layer]]:
    """Yield each layer with its dotted name in the Flux model.

    Example:
        >>> row = [Sum([[Layer({"layer": "flatten"})], []])]
        >>> [name for name, _ in places(row)]
        ['layers.1.layers.1.layers.1']
    """
    for i, one in enumerate(row, 1):
        if isinstance(one, Layer):
            yield f"{path}.{i}", one
        else:
            for j, branch in enumerate(one.branches, 1):
                yield from places(branch, f"{path}.{i}.layers.{j}.layers")


def described(row: Row) -> list[dict[str, Any]]:
    """Return the description of a row, ready for JSON."""
    return [
        one.entries
        if isinstance(one, Layer)
        else layer("sum", branches=[described(branch) for branch in one.branches])
        for one in row
    ]


def parsed(description: list[dict[str, Any]], path: str = "") -> Row:
    """Return the row of a description.

    A layer's `module` is its place in the module that is built of the description.

    Example:
        >>> parsed([{"layer": "flatten"}])[0].kind
        'flatten'
    """
    row: Row = []
    for i, entries in enumerate(description):
        name = f"{path}{i}"
        if entries["layer"] == "sum":
            branches = enumerate(entries["branches"])
            row.append(Sum([parsed(b, f"{name}.branches.{j}.") for j, b in branches]))
        else:
            row.append(Layer(entries, name))
    return row

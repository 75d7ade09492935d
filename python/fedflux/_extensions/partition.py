"""A partition of the user's own: lists of indices, or a function that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Array
from ..errors import OptionError
from .checks import checked_function, integers, name_of, named, read_only

Function = Callable[[Array, int, np.random.Generator], Any]
Parts = list[NDArray[np.int64]]
# What a user gives: lists of indices, by the clients' names or without, or a function.
Given = Function | Mapping[Any, Any] | Sequence[Any]


@dataclass(frozen=True)
class Listed:
    """A partition that is given.

    Attributes:
        parts: the indices of the samples of each client, from 0.
        names: of the clients; None for their numbers.
    """

    parts: Parts
    names: list[Any] | None = None

    name = "listed"

    @property
    def client_names(self) -> list[Any]:
        """The names of the clients, or their numbers from 1."""
        return list(range(1, len(self.parts) + 1)) if self.names is None else self.names

    def split(self, labels: Array, clients: int, seed: int) -> Parts:
        """Return the parts, if all their indices are those of samples.

        Raises:
            OptionError: there is no such sample.

        Example:
            >>> Listed([np.array([1, 0])]).split(np.zeros(2), 1, 0)
            [array([1, 0])]
        """
        return checked_parts(self.parts, len(labels), "partition", self.names)


@dataclass(frozen=True)
class FunctionPartition:
    """A partition by a function of the labels, the number of clients and a generator."""

    function: Function

    names = None

    @property
    def name(self) -> str:
        """What results and messages call it."""
        return name_of(self.function)

    def split(self, labels: Array, clients: int, seed: int) -> Parts:
        """Call the function, and check the parts that it gives.

        Args:
            labels: of all training samples.
            clients: how many parts to make.
            seed: of the generator.

        Raises:
            OptionError: the function gives no list of indices for each client.

        Example:
            >>> halves = lambda labels, clients, rng: np.array_split(np.arange(4), clients)
            >>> FunctionPartition(halves).split(np.zeros(4), 2, 0)
            [array([0, 1]), array([2, 3])]
        """
        where = f"partition {self.name}"
        with named(where):
            rng = np.random.default_rng(seed)
            answer = self.function(read_only(labels), clients, rng)
        parts = _listed(answer, where)
        if len(parts) != clients:
            raise OptionError(
                f"{where}: expected {clients} lists of indices, one for each client, got "
                f"{len(parts)}"
            )
        return checked_parts(parts, len(labels), where)


Partition = Listed | FunctionPartition


def partition(value: Any) -> Partition:
    """Check a partition of the user's.

    Args:
        value: lists of indices, a dict of those by the clients' names, or a function.

    Raises:
        OptionError: it is none of these.

    Example:
        >>> partition({"north": [0, 1], "south": [2]}).names
        ['north', 'south']
    """
    if isinstance(value, Mapping):
        return Listed(_listed(list(value.values()), "partition"), list(value))
    if callable(value):
        return FunctionPartition(
            checked_function(value, ("labels", "clients", "rng"), "partition")
        )
    return Listed(_listed(value, "partition"))


def _listed(parts: Any, where: str) -> Parts:
    expected = f"{where}: expected a list of indices for each client"
    if not isinstance(parts, Sequence | np.ndarray) or isinstance(parts, str | bytes):
        raise OptionError(f"{expected}, got {type(parts).__name__}")
    if not len(parts):
        raise OptionError(f"{expected}, got none")
    return [
        integers(part, f"{expected}, and for client {k}")
        for k, part in enumerate(parts, start=1)
    ]


def checked_parts(parts: Parts, n: int, where: str, names: Any = None) -> Parts:
    """Check that every client has samples, and only those that there are.

    Args:
        parts: indices from 0.
        n: the number of training samples.
        where: the beginning of the error's message.
        names: of the clients, or None.

    Raises:
        OptionError: a client has none, or an index is out of bounds.

    Example:
        >>> checked_parts([np.array([0])], 1, "partition")
        [array([0])]
    """
    for k, part in enumerate(parts):
        who = f"client {k + 1}" if names is None else f"client {names[k]!r}"
        if not part.size:
            raise OptionError(
                f"{where}: expected samples for every client, got none for {who}"
            )
        wrong = part[(part < 0) | (part >= n)]
        if wrong.size:
            raise OptionError(
                f"{where}: expected indices from 0 to {n - 1}, got {wrong[0]} for {who}"
            )
    return parts

"""Cohorts, and who is available, by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from .checks import checked_function, integers, name_of, named, read_only

Function = Callable[[int, NDArray[np.int64], np.random.Generator], Any]


@dataclass(frozen=True)
class Chooser:
    """A function that chooses clients in each round.

    Attributes:
        option: "sampling" or "availability".
        function: of the round, the clients to choose from, and a generator.
    """

    option: str
    function: Function

    @property
    def name(self) -> str:
        """What results and messages call it."""
        return name_of(self.function)

    def choose(self, round: int, clients: Any, seed: int) -> NDArray[np.int64]:
        """Choose clients.

        Args:
            round: its number, from 1.
            clients: the numbers of the clients to choose from, from 1, sorted.
            seed: of the generator.

        Returns:
            The chosen clients, sorted.

        Raises:
            OptionError: the function's answer is no list of such clients, or has one twice.

        Example:
            >>> Chooser("sampling", lambda round, clients, rng: [2]).choose(1, [1, 2], 0)
            array([2])
        """
        where = f"{self.option} {self.name}, round {round}"
        known = read_only(np.asarray(clients, dtype=np.int64))
        with named(where):
            answer = self.function(round, known, np.random.default_rng(seed))
        expected = f"{where}: expected a list of some of the clients that it was given"
        chosen = np.sort(integers(answer, expected))
        strange = chosen[~np.isin(chosen, known)]
        if strange.size:
            raise OptionError(f"{expected}, got {strange[0]}, which is none of these")
        again = chosen[1:][chosen[1:] == chosen[:-1]]
        if again.size:
            raise OptionError(f"{expected}, got {again[0]} twice")
        return chosen


def chooser(option: str, value: Any) -> Chooser:
    """Check a function that chooses clients.

    Raises:
        OptionError: it takes other arguments.

    Example:
        >>> chooser("sampling", lambda round, clients, rng: clients).name
        'function'
    """
    return Chooser(option, checked_function(value, ("round", "clients", "rng"), option))

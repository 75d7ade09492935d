"""An aggregator of the user's own: many updates into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._typing import Array
from ..errors import OptionError, shown
from .checks import check_arguments, checked_function, name_of, named, read_only, vector
from .states import State, checked, copied

Function = Callable[[NDArray[np.float32], NDArray[np.float64]], Any]


class Aggregator:
    """Combines the updates of a round into one. Define `aggregate` in a subclass.

    A plain function of the same arguments is enough, if you need nothing else:
    `fedflux.run(aggregate=f)`.

    Attributes:
        name: what results and messages call it; the name of the class by default.
        min_clients: the fewest updates that it takes. A round with fewer leaves the model
            as it was.
        state: a dict of arrays of your own, empty before the first round. What you leave
            in it is there in the next round, and a run that resumes has it too. If a round
            fails, the state stays as it was.

    Example:
        >>> class Momentum(Aggregator):
        ...     def aggregate(self, updates, weights):
        ...         mean = np.average(updates, axis=0, weights=weights)
        ...         mean += 0.9 * self.state.get("momentum", 0)
        ...         self.state["momentum"] = mean
        ...         return mean
        >>> result = fedflux.run(aggregate=Momentum())  # doctest: +SKIP
    """

    name: str = ""
    min_clients: int = 1
    state: State
    _arguments: ClassVar[tuple[str, str]] = ("updates", "weights")

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "state", {})
        return self

    def aggregate(self, updates: NDArray[np.float32], weights: NDArray[np.float64]) -> Any:
        """Combine the updates of a round.

        Args:
            updates: float32 of shape (clients, parameters), read-only: what training
                changed, a row for each client whose update counts. The arrays of the model
                follow each other as in `Result.parameters`; within an array, the order is
                that of the engine.
            weights: float64 of shape (clients,), read-only: numbers of samples, or ones
                with weights="uniform".

        Returns:
            A vector of finite numbers, of shape (parameters,).
        """
        raise NotImplementedError

    def statistics(
        self, statistics: NDArray[np.float32], weights: NDArray[np.float64]
    ) -> Any:
        """Combine the changes of BatchNorm's running statistics; by default their medians.

        Args:
            statistics: float32 of shape (clients, statistics), read-only.
            weights: as in `aggregate`.

        Returns:
            A vector of finite numbers, of shape (statistics,).
        """
        return np.median(statistics, axis=0)

    def _title(self) -> str:
        return self.name or type(self).__name__


class FunctionAggregator(Aggregator):
    """An aggregator that is a plain function.

    Args:
        function: of the updates and the weights.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.name = name_of(function)

    def aggregate(self, updates: NDArray[np.float32], weights: NDArray[np.float64]) -> Any:
        """Call the function."""
        return self.function(updates, weights)


def aggregator(value: Any) -> Aggregator:
    """Check an aggregator of the user's, and return it; a function becomes one.

    Raises:
        OptionError: it takes other arguments, or has wrong settings.

    Example:
        >>> aggregator(lambda updates, weights: updates[0]).name
        'function'
    """
    if not isinstance(value, Aggregator):
        function = checked_function(value, Aggregator._arguments, "aggregate")
        return FunctionAggregator(function)
    title, least = value._title(), value.min_clients
    if type(value).aggregate is Aggregator.aggregate:
        raise OptionError(f"aggregate {title}: expected a method aggregate, got none")
    if not isinstance(value.name, str):
        raise OptionError(f"aggregate: expected a text as name, got {shown(value.name)}")
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise OptionError(
            f"aggregate {title}: expected min_clients of 1 or more, got {shown(least)}"
        )
    for method in (value.aggregate, value.statistics):
        check_arguments(method, Aggregator._arguments, f"aggregate {title}")
    return value


def aggregated(
    own: Aggregator, updates: Any, weights: Any, state: State, round: int
) -> tuple[NDArray[np.float32], State]:
    """Combine the updates of a round.

    Args:
        own: the aggregator.
        updates: (clients, parameters).
        weights: (clients,).
        state: what the aggregator kept; it stays as it is.
        round: its number, from 1.

    Returns:
        The aggregate, and what the aggregator keeps now.

    Raises:
        OptionError: the aggregate is no vector of finite numbers.

    Example:
        >>> own = aggregator(lambda updates, weights: updates.max(axis=0))
        >>> aggregated(own, np.eye(2, dtype=np.float32), np.ones(2), {}, 1)
        (array([1., 1.], dtype=float32), {})
    """
    where = f"aggregate {own._title()}, round {round}"
    object.__setattr__(own, "state", copied(state))
    with named(where):
        answer = own.aggregate(read_only(updates), read_only(weights))
    kept = checked(own.state, where)
    return vector(answer, np.shape(updates)[1], where), kept


def combined_statistics(own: Aggregator, statistics: Any, weights: Any) -> Array:
    """Combine the clients' statistics, (clients, statistics).

    Raises:
        OptionError: the answer is no vector of finite numbers.

    Example:
        >>> own = aggregator(lambda updates, weights: updates[0])
        >>> combined_statistics(own, np.eye(3), np.ones(3))
        array([0., 0., 0.], dtype=float32)
    """
    where = f"aggregate {own._title()}, statistics"
    with named(where):
        answer = own.statistics(read_only(statistics), read_only(weights))
    return vector(answer, np.shape(statistics)[1], where)

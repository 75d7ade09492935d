"""The server's step by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import checked_function, name_of, named, read_only, vector
from .context import Context, context
from .states import State, checked, copied

Floats = NDArray[np.float32]
Function = Callable[[Floats, Floats, State, Context], Any]


@dataclass(frozen=True)
class ServerStep:
    """A function that makes the server's step.

    Attributes:
        function: of the parameters, the mean update, a state and the context.
    """

    function: Function

    @property
    def name(self) -> str:
        """What results and messages call it."""
        return name_of(self.function)

    def step(
        self, params: Floats, mean: Floats, state: State, facts: Sequence[Any]
    ) -> tuple[Floats, State]:
        """Call the function.

        Args:
            params: the global parameters.
            mean: the aggregate of the updates.
            state: what the function kept.
            facts: the fields of `Context`, up to the seed.

        Returns:
            The step, which the server adds to the parameters, and the state afterwards.

        Raises:
            OptionError: the step is no vector of finite numbers.
        """
        ctx, kept = context(facts, params=read_only(params)), copied(state)
        where = f"server {self.name}, round {ctx.round}"
        with named(where):
            answer = self.function(ctx.params, read_only(mean), kept, ctx)
        return vector(answer, len(params), where), checked(kept, where)


def server_step(value: Any) -> ServerStep:
    """Check a function that makes the server's step.

    Raises:
        OptionError: it takes other arguments.

    Example:
        >>> server_step(lambda params, mean, state, ctx: mean / 2).name
        'function'
    """
    arguments = ("params", "mean", "state", "ctx")
    return ServerStep(checked_function(value, arguments, "server"))

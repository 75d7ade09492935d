"""What the hooks of a user's rule know of the round, besides their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Array


@dataclass(frozen=True)
class Context:
    """What a hook knows of the round. Arrays are copies, or read-only.

    Attributes:
        round: the number of the round, from 1.
        client: the number of the client, from 1; 0 on the server.
        cohort: how many clients were asked; on the server, how many updates count.
        clients: how many clients there are.
        lr: the learning rate of the clients in this round; None if their optimizer has
            none.
        samples: how many samples the client has; None on the server.
        weight: of the client in the average; None on the server.
        steps: the number of the client's local steps; None on the server.
        step: in `correct` the number of the step, from 1; None elsewhere.
        batch: in `correct` the number of samples in the batch; None elsewhere.
        share: on the server the weight of the updates that count, over that of all
            clients; None on a client.
        seed: of `rng`.
        params: the global parameters, float32 of shape (parameters,), read-only: on a
            client those that it starts from.
        server: the state of the rule on the server, read-only: a dict of arrays.
        sent: the vectors that the rule's `sends` names, as long as the parameters. In
            `client` put them into this dict; in `server` it holds their averages.
        layers: where the arrays of the model are in a vector of parameters, slices by the
            names in `Result.parameters`.
    """

    round: int
    client: int
    cohort: int
    clients: int
    lr: float | None
    samples: int | None
    weight: float | None
    steps: int | None
    step: int | None
    batch: int | None
    share: float | None
    seed: int
    params: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    server: Mapping[str, Array] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    layers: Mapping[str, slice] = field(default_factory=dict)

    @cached_property
    def rng(self) -> np.random.Generator:
        """A generator of random numbers of this hook, round and client alone."""
        return np.random.default_rng(self.seed)


def context(facts: Sequence[Any], **arrays: Any) -> Context:
    """Make the context of a hook.

    Args:
        facts: its fields up to the seed, in order.
        **arrays: the others.

    Example:
        >>> facts = (1, 2, 5, 9, 0.1, 60, 60, 4, None, None, None, 0)
        >>> context(facts).client
        2
    """
    names = [f.name for f in fields(Context)][: len(facts)]
    known: dict[str, Any] = dict(zip(names, facts, strict=True))
    return Context(**known, **arrays)

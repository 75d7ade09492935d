"""Options, and what a user writes in Python, for the tests of these."""

from typing import Any

import numpy as np

import fedflux

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "hidden": [20],
    "clients": 7,
    "rounds": 4,
    "lr": 0.5,
    "engine": "julia",
}
SLOW: dict[str, Any] = SMALL | {"model": "softmax_regression"}
del SLOW["hidden"]


def median(updates: Any, weights: Any) -> Any:
    n, rows = len(updates), np.sort(updates, axis=0)
    return rows[(n + 1) // 2 - 1] / 2 + rows[n // 2] / 2


class Prox(fedflux.Rule):
    """FedProx: arXiv:1812.06127, Algorithm 2."""

    def correct(self, gradient: Any, params: Any, state: Any, ctx: Any) -> Any:
        return gradient + 0.1 * (params - ctx.params)


class Momentum(fedflux.Aggregator):
    min_clients = 3

    def aggregate(self, updates: Any, weights: Any) -> Any:
        mean = np.average(updates, axis=0, weights=weights)
        self.state["v"] = mean + 0.9 * self.state.get("v", 0)
        self.state["rounds"] = self.state.get("rounds", 0) + 1
        return self.state["v"]


def rule(**members: Any) -> fedflux.Rule:
    made: fedflux.Rule = type("Mine", (fedflux.Rule,), members)()
    return made


def sends_nothing(self: Any, update: Any, state: Any, ctx: Any) -> Any:
    return update

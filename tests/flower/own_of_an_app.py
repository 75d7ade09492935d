"""What an app's own module provides: functions and rules, and the nodes' data."""

from types import SimpleNamespace
from typing import Any

import numpy as np

import fedflux
from fedflux.flower import share, test_share as held_out


def middle(updates: Any, weights: Any) -> Any:
    return (updates.min(axis=0) + updates.max(axis=0)) / 2


class Drift(fedflux.Rule):
    """Hooks on both sides, states on both, and a vector beside the update."""

    sends = ("dc",)

    def correct(self, gradient: Any, params: Any, state: Any, ctx: Any) -> Any:
        return gradient + (ctx.server.get("c", 0) - state.get("c", 0))

    def client(self, update: Any, state: Any, ctx: Any) -> Any:
        own = state.get("c", np.zeros_like(update))
        c = own - ctx.server.get("c", 0) - update / (ctx.steps * ctx.lr)
        ctx.sent["dc"] = c - own
        state["c"] = c
        return update + ctx.rng.normal(size=len(update)).astype(np.float32) * 1e-3

    def server(self, mean: Any, state: Any, ctx: Any) -> Any:
        state["c"] = state.get("c", np.zeros_like(mean)) + ctx.share * ctx.sent["dc"]
        return mean


class Half(fedflux.Rule):
    def server(self, mean: Any, state: Any, ctx: Any) -> Any:
        return mean / 2


def two(round: int, clients: Any, rng: Any) -> Any:
    return rng.choice(clients, 2, replace=False)


def step(params: Any, mean: Any, state: Any, ctx: Any) -> Any:
    state["v"] = 0.5 * state.get("v", 0) + mean
    return state["v"]


def right(y_true: Any, y_pred: Any) -> Any:
    return (y_true == y_pred).mean()


def on_the_server() -> dict[str, Any]:
    return {
        "aggregate": middle,
        "metrics": {"right": right},
        "rules": Half(),
        "sampling": two,
        "server": step,
    }


def on_both() -> dict[str, Any]:
    return {"rules": [Half(), Drift()]}


def fails() -> dict[str, Any]:
    return {"metrics": {"right": lambda y, p: 1 / 0}}


def no_option() -> dict[str, Any]:
    return {"partition": [[0], [1]]}


def load(context: Any) -> Any:
    return share(context)


def context_of(client: int, options: dict[str, Any]) -> dict[str, Any]:
    run_config = {f"fedflux.{name}": value for name, value in options.items()}
    config = {"partition-id": client - 1}
    return {"run_id": 1, "node_id": client, "node_config": config, "run_config": run_config}


def load_test_data(options: dict[str, Any]) -> Any:
    return held_out(SimpleNamespace(**context_of(1, options)))

"""What functions and rules in Python cost: `python -m benchmarks.hooks` prints a table.

An aggregator beside the same NumPy call alone, and each hook of a rule that changes nothing
beside a run without it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fedflux
from fedflux._extensions.aggregator import aggregator
from fedflux._julia.own_objects import julia_object
from fedflux._julia.start import boot

CLIENTS, PARAMETERS = 100, 33_546  # of the case study's model
UPDATES = """
(x) -> [FedFlux.Update(; delta = v) for v in eachcol(Matrix{Float32}(x)) .|> collect]
"""
# What a round has when its last update came: each was copied when it did.
FILLED = """
(a, us) -> foldl((acc, u) -> FedFlux.add!(a, acc, u, 1.0), us;
    init = FedFlux.start(a, length(us), nothing))
"""
RUN: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "hidden": [446],  # 33,460 parameters
    "clients": 10,
    "rounds": 12,
    "lr": 0.1,
    "engine": "julia",
    "threads": 1,
    "eval_every": 12,
}


class Idle(fedflux.Rule):
    """Changes nothing; a subclass takes one of the hooks."""


def receive(self: Any, params: Any, ctx: Any) -> Any:
    return params


def correct(self: Any, gradient: Any, params: Any, state: Any, ctx: Any) -> Any:
    return gradient


def client(self: Any, update: Any, state: Any, ctx: Any) -> Any:
    return update


def server(self: Any, mean: Any, state: Any, ctx: Any) -> Any:
    return mean


def seconds(f: Callable[[], Any], repeats: int = 9) -> float:
    """The least time of several, which other programs disturb least."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        f()
        times.append(time.perf_counter() - begun)
    return min(times)


def aggregators() -> None:
    core = boot().core  # first: with the settings that fedflux needs
    from juliacall import Main as jl

    x = np.random.default_rng(0).normal(size=(CLIENTS, PARAMETERS)).astype(np.float32)
    updates = jl.seval(f"using FedFlux; {UPDATES}")(x.T)
    filled = jl.seval(FILLED)
    print(
        f"| an aggregate of {CLIENTS} × {PARAMETERS:,} | NumPy alone | the call | with the "
        "copy of each update | call : alone |"
    )
    print("| --- | --- | --- | --- | --- |")
    calls: dict[str, Callable[[Any], Any]] = {
        "`np.median`": lambda u: np.median(u, axis=0),
        "`np.sort`, trimmed mean": lambda u: np.sort(u, axis=0)[10:-10].mean(axis=0),
        "`np.mean`": lambda u: u.mean(axis=0),
    }
    for name, f in calls.items():
        own = julia_object(
            core, "aggregate", aggregator(lambda updates, weights, f=f: f(updates))
        )
        core.combine_updates(own, updates)
        alone = seconds(lambda f=f: f(x))
        whole = seconds(lambda own=own: core.combine_updates(own, updates))
        stack = filled(own, updates)
        call = seconds(lambda own=own, stack=stack: core.finish(own, stack, 1))
        times = " | ".join(f"{t * 1e3:.1f} ms" for t in (alone, call, whole))
        print(f"| {name} | {times} | {call / alone:.2f} |")


def per_round(rules: list[Any]) -> float:
    """The median time of a round, in seconds, without the first two."""
    history = fedflux.run(**RUN, rules=rules).history[2:]
    return statistics.median(r["seconds_train"] + r["seconds_aggregate"] for r in history)


def hooks() -> None:
    steps = 50  # of a round: ten clients with 144 samples in batches of 32
    per_round([])
    plain = min(per_round([]) for _ in range(3))
    print(f"\n| hook | calls in a round | per call (a plain round: {plain * 1e3:.1f} ms) |")
    print("| --- | --- | --- |")
    for hook, calls in ((receive, 10), (correct, steps), (client, 10), (server, 1)):
        rule = type("One", (Idle,), {hook.__name__: hook})()
        per_round([rule])
        took = min(per_round([rule]) for _ in range(3))
        print(f"| `{hook.__name__}` | {calls} | {(took - plain) / calls * 1e6:.0f} µs |")


if __name__ == "__main__":
    aggregators()
    hooks()

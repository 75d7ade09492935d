"""Functions and objects of the user's own, as the core takes them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .._extensions.aggregator import Aggregator, aggregated, combined_statistics
from .._extensions.cohorts import Chooser
from .._extensions.metrics import Metric, Metrics
from .._extensions.partition import FunctionPartition, Listed
from .._extensions.rule import Rule, RuleCalls
from .._extensions.server_step import ServerStep
from .._extensions.states import State
from .._typing import Array


def julia_object(core: Any, option: str, value: Any) -> Any:
    """Return the Julia object that stands for a value; the value itself if it is Julia's.

    Args:
        core: the core's module.
        option: the option that the value is given for.
        value: an object of `_extensions`, a Julia object, a text, or a tuple of those.
    """
    match value:
        case tuple():
            return tuple(julia_object(core, option, v) for v in value)
        case Aggregator():
            f, name = _aggregate(core, value), value._title()
            return core._own(option, f, name, value.min_clients, _statistics(value))
        case Chooser():
            return core._own(option, _choose(value), value.name)
        case Metrics():
            return _metrics(core, value)
        case FunctionPartition():
            return core._own(option, _split(value), value.name, None)
        case Listed():
            return core._own(option, _split(value), value.name, value.client_names)
        case ServerStep():
            return core._own(option, _step(core, value), value.name)
        case Rule():
            f, hooks = _hooks(core, value), value._hooks()
            return core._own(option, f, value._title(), hooks, list(value.sends))
    return value


def _metrics(core: Any, own: Metrics) -> Any:
    def measuring(metric: Metric) -> Callable[..., float]:
        def measure(labels: Any, answers: Any, round: int) -> float:
            y, said = np.array(labels).T, np.array(answers).T
            return metric.measure(y, said, round, own.classes)

        return measure

    functions = [
        m.function if isinstance(m.function, str) else measuring(m) for m in own.metrics
    ]
    return core._metrics(own.name, functions, [m.of_probabilities for m in own.metrics])


def _array(array: Any) -> Array:
    """Copy a vector of Julia's, which may change after the call."""
    return np.array(array)


def _state(state: Any) -> State:
    """Return a state of Julia's, with NumPy's axes."""
    if state is None:
        return {}
    return {str(name): np.array(array).T for name, array in state.items()}


def _kept(core: Any, state: State) -> Any:
    arrays = [np.array(a, order="C").T for a in state.values()]
    return core._state(list(state), arrays)


def _aggregate(core: Any, own: Aggregator) -> Callable[..., Any]:
    def aggregate(out: Any, x: Any, weights: Any, state: Any, round: int) -> Any:
        # No copy: Julia writes into the matrix again only if no view of it is left.
        whole = np.asarray(x)
        while isinstance(whole.base, np.ndarray):  # of which NumPy makes the user's views
            whole = whole.base
        seen = weakref.ref(whole)
        answer, kept = aggregated(own, whole.T, _array(weights), _state(state), round)
        np.asarray(out)[:] = answer
        del whole, answer
        return _kept(core, kept), seen() is not None

    return aggregate


def _statistics(own: Aggregator) -> Callable[..., Any]:
    def statistics(out: Any, s: Any, weights: Any) -> None:
        answer = combined_statistics(own, np.asarray(s).T, _array(weights))
        np.asarray(out)[:] = answer

    return statistics


def _choose(own: Chooser) -> Callable[..., Any]:
    def choose(round: int, clients: Any, seed: int) -> list[int]:
        chosen: list[int] = own.choose(round, _array(clients), int(seed)).tolist()
        return chosen

    return choose


def _split(own: FunctionPartition | Listed) -> Callable[..., Any]:
    def split(labels: Any, clients: int, seed: int) -> list[list[int]]:
        parts = own.split(_array(labels).T, clients, int(seed))
        return [(part + 1).tolist() for part in parts]

    return split


def _step(core: Any, own: ServerStep) -> Callable[..., Any]:
    def step(out: Any, params: Any, mean: Any, state: Any, facts: Any) -> Any:
        answer, kept = own.step(_array(params), _array(mean), _state(state), facts)
        np.asarray(out)[:] = answer
        return _kept(core, kept)

    return step


def _hooks(core: Any, own: Rule) -> Callable[..., Any]:
    calls = RuleCalls(own)

    def hook(name: str, v: Any, *more: Any) -> Any:
        if name == "prepare":
            return calls.prepare([str(n) for n in v], [int(end) for end in more[0]])
        w, params, state, server, sent, facts = more
        vectors = [_array(a) for a in (v, w) if a is not None]
        places = [np.asarray(place) for place in sent]
        if name == "server":  # Julia's memory, which may change after the call
            places = [place.copy() for place in places]
        answer, kept = calls.call(
            name, vectors, _state(state), _state(server), places, facts, _array(params)
        )
        np.asarray(v)[:] = answer
        return _kept(core, kept) if name in ("client", "server") else None

    return hook

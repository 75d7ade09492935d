"""Aggregators, rules, partitions and the rest that are written in Python."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

from .own import SLOW, SMALL, Momentum, Prox, median


def trimmed_mean(updates: Any, weights: Any) -> Any:
    n, rows = len(updates), np.sort(updates, axis=0)
    k = int(0.2 * n)
    return rows[k : n - k].astype(np.float64).sum(axis=0) / (n - 2 * k)


class Drift(fedflux.Rule):
    """SCAFFOLD: arXiv:1910.06378, Algorithm 1, option II."""

    sends = ("dc",)

    def correct(self, gradient: Any, params: Any, state: Any, ctx: Any) -> Any:
        return gradient + (ctx.server.get("c", 0) - state.get("c", 0))

    def client(self, update: Any, state: Any, ctx: Any) -> Any:
        own = state.get("c", np.zeros_like(update))
        c = own - ctx.server.get("c", 0) - update / (ctx.steps * ctx.lr)
        ctx.sent["dc"] = c - own
        state["c"] = c
        return update

    def server(self, mean: Any, state: Any, ctx: Any) -> Any:
        state["c"] = state.get("c", np.zeros_like(mean)) + ctx.share * ctx.sent["dc"]
        return mean


class Largest(fedflux.Rule):
    """Top-k with error feedback: arXiv:1809.07599."""

    def client(self, update: Any, state: Any, ctx: Any) -> Any:
        wanted = update + state.get("lost", 0)
        k = round(0.05 * len(wanted))
        kept = np.argsort(-abs(wanted), kind="stable")[:k]
        sent = np.zeros_like(wanted)
        sent[kept] = wanted[kept]
        state["lost"] = wanted - sent
        return sent


TWINS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "median": ({"aggregate": median}, {"aggregate": "median"}),
    "trimmed mean": (
        {"aggregate": trimmed_mean},
        {"aggregate": "trimmed_mean(fraction=0.2)"},
    ),
    "FedProx": ({"rules": [Prox()]}, {"rules": ["fedprox(mu=0.1)"]}),
    "SCAFFOLD": ({"rules": [Drift()]}, {"rules": ["scaffold"]}),
    "top-k": ({"rules": [Largest()]}, {"rules": ["topk(fraction=0.05)"]}),
}


@pytest.mark.parametrize("twin", TWINS)
def test_what_is_written_in_python_gives_the_bits_of_its_julia_twin(
    julia: None, twin: str, tmp_path: Path
) -> None:
    own, named = TWINS[twin]
    few = {**SMALL, "clients_per_round": 5}  # some clients rest, and keep their states
    expected = fedflux.run(**few, **named)
    assert expected.params_sha256 != fedflux.run(**few).params_sha256
    for threads in {1, min(2, os.cpu_count() or 1)}:
        result = fedflux.run(**few, **own, threads=threads)
        assert result.params_sha256 == expected.params_sha256
    begun = fedflux.run(**{**few, "rounds": 2}, **own, checkpoint=tmp_path)
    assert fedflux.run(resume=begun, rounds=4).params_sha256 == expected.params_sha256
    rest = fedflux.run(resume=tmp_path, rounds=4, **own)
    assert rest.details["resumed"] == 2
    assert rest.params_sha256 == expected.params_sha256
    assert rest.options["rules"] == [r.__class__.__name__ for r in own.get("rules", [])]


def test_an_aggregator_with_a_state(julia: None, tmp_path: Path) -> None:
    own = Momentum()
    whole = fedflux.run(**SMALL, aggregate=own)
    assert (whole.options["aggregate"], int(own.state["rounds"])) == ("Momentum", 4)
    # fedavgm: v ← 0.9 v + ū, another order of additions
    named = fedflux.run(**SMALL, server="fedavgm(lr=1, momentum=0.9)")
    for name, array in whole.parameters.items():
        assert np.allclose(array, named.parameters[name], atol=1e-5)
    begun = fedflux.run(**{**SMALL, "rounds": 2}, aggregate=Momentum(), checkpoint=tmp_path)
    assert fedflux.run(resume=begun, rounds=4).params_sha256 == whole.params_sha256
    rest = fedflux.run(resume=tmp_path, rounds=4, aggregate=Momentum())
    assert rest.params_sha256 == whole.params_sha256
    with pytest.raises(fedflux.FedFluxError, match=r"Momentum.*is .*median"):
        fedflux.run(resume=tmp_path, rounds=5, aggregate=median)
    with pytest.raises(fedflux.FedFluxError, match="Momentum needs at least 3 updates"):
        fedflux.run(**SMALL, clients_per_round=2, aggregate=own)


def test_a_view_outlives_its_call(julia: None) -> None:
    kept = []

    def keep(updates: Any, weights: Any) -> Any:
        kept.append((updates, updates.copy(), weights, weights.copy()))
        return updates.mean(axis=0)

    fedflux.run(**SMALL, aggregate=keep)
    assert len(kept) == SMALL["rounds"]
    for view, copy, weights, copied in kept:
        assert np.array_equal(view, copy)
        assert np.array_equal(weights, copied)
        assert (view.dtype, view.shape) == (np.float32, (7, 1510))
        assert weights.sum() == 1437


def test_the_memory_of_a_round_is_used_again_unless_a_view_is_left(julia: None) -> None:
    kept: dict[int, tuple[Any, Any]] = {}
    places = []

    def keeps_two(updates: Any, weights: Any) -> Any:
        places.append(updates.__array_interface__["data"][0])
        if len(places) == 2:
            kept[2] = updates[:, ::7], updates[:, ::7].copy()
        if len(places) == 4:
            kept[4] = memoryview(updates[3]), updates[3].copy()
        return np.median(updates, axis=0)

    result = fedflux.run(**(SMALL | {"rounds": 6}), aggregate=keeps_two)
    assert places[0] == places[1] != places[2] == places[3] != places[4] == places[5]
    assert len({places[1], places[3], places[5]}) == 3
    for view, copy in kept.values():
        assert np.array_equal(np.asarray(view), copy)
    with pytest.raises(ValueError, match="read-only"):
        kept[2][0][:] = 0
    again = fedflux.run(**(SMALL | {"rounds": 6}), aggregate=median)
    assert again.params_sha256 == result.params_sha256


def test_rules_of_both_kinds_in_one_chain(julia: None) -> None:
    more = {"aggregate": "trimmed_mean(0.2)"}
    result = fedflux.run(**SMALL, rules=[Prox(), "quantize(bits=8)"], **more)
    named = fedflux.run(**SMALL, rules=["fedprox(mu=0.1)", "quantize(bits=8)"], **more)
    assert result.params_sha256 == named.params_sha256
    assert result.options["rules"] == ["Prox", "quantize(bits=8)"]
    assert result.history[0]["bytes_up"] == named.history[0]["bytes_up"]

    class Shift(fedflux.Rule):
        def receive(self, params: Any, ctx: Any) -> Any:
            layer = ctx.layers["layers.3.bias"]  # of the ten outputs
            assert layer.stop - layer.start == 10
            shifted = params.copy()
            shifted[layer] += ctx.rng.normal(size=10).astype(np.float32)
            return shifted

    first, again = (fedflux.run(**SMALL, rules=Shift()) for _ in range(2))
    assert first.params_sha256 == again.params_sha256 != fedflux.run(**SMALL).params_sha256


def test_sampling_and_availability(julia: None) -> None:
    def some(round: int, clients: Any, rng: Any) -> Any:
        return rng.choice(clients, 3, replace=False)

    def odd(round: int, clients: Any, rng: Any) -> Any:
        return clients[clients % 2 == 1]

    result = fedflux.run(**SMALL, sampling=some, availability=odd)
    cohorts = [record["cohort"] for record in result.history]
    assert all(len(c) == 3 and all(k % 2 for k in c) for c in cohorts)
    assert len({tuple(c) for c in cohorts}) > 1
    assert result.options["sampling"] == "some"
    again = fedflux.run(**SMALL, sampling=some, availability=odd, threads=1)
    assert again.params_sha256 == result.params_sha256
    none = {**SMALL, "rounds": 2}
    assert (
        fedflux.run(
            **none, availability=lambda round, clients, rng: clients[: 7 * (round - 1)]
        ).history[0]["cohort"]
        == []
    )


def test_partitions(julia: None) -> None:
    halves = [range(0, 1437, 2), np.arange(1, 1437, 2)]
    few = {name: value for name, value in SMALL.items() if name != "clients"}
    listed = fedflux.run(**few, partition=halves)
    named = fedflux.run(**few, partition={"north": halves[0], "south": halves[1]})
    made = fedflux.run(
        **few,
        clients=2,
        partition=lambda labels, clients, rng: [
            np.arange(k, len(labels), clients) for k in range(clients)
        ],
    )
    assert listed.params_sha256 == named.params_sha256 == made.params_sha256
    assert [row["name"] for row in named.clients] == ["north", "south"]
    assert [row["samples"] for row in listed.clients] == [719, 718]
    assert listed.options["clients"] == 2
    split = fedflux.partition(dataset="digits", partition=halves)
    assert split["sizes"] == [719, 718]
    assert fedflux.run(resume=named, rounds=5).details["resumed"] == 4


def test_the_servers_step(julia: None) -> None:
    def step(params: Any, mean: Any, state: Any, ctx: Any) -> Any:
        state["v"] = 0.9 * state.get("v", np.zeros_like(mean)) + mean
        assert ctx.client == 0
        assert np.array_equal(params, ctx.params)
        return state["v"]

    result = fedflux.run(**SMALL, server=step)
    named = fedflux.run(**SMALL, server="fedavgm(lr=1, momentum=0.9)")
    for name, array in result.parameters.items():
        assert np.allclose(array, named.parameters[name], atol=1e-5)
    begun = fedflux.run(**{**SMALL, "rounds": 2}, server=step)
    assert fedflux.run(resume=begun, rounds=4).params_sha256 == result.params_sha256
    with pytest.raises(fedflux.FedFluxError, match="has no single learning rate"):
        fedflux.run(**SMALL, server=step, server_schedule=["step(every=2, factor=0.5)"])


def some(round: int, clients: Any, rng: Any) -> Any:
    return rng.choice(clients, 4, replace=False)


def test_the_reference_engine_takes_them_too(julia: None) -> None:
    own: dict[str, Any] = {
        "aggregate": Momentum(),
        "sampling": some,
        "partition": lambda labels, clients, rng: np.array_split(
            rng.permutation(len(labels)), clients
        ),
    }
    core = fedflux.run(**SLOW, **own)
    slow = fedflux.run(**(SLOW | {"engine": "reference"}), **own)
    for record, other in zip(core.history, slow.history, strict=True):
        assert record["cohort"] == other["cohort"]
        assert record["test_loss"] == pytest.approx(other["test_loss"], rel=1e-4)
    for name, array in core.parameters.items():
        assert np.allclose(array, slow.parameters[name], atol=1e-5)
    assert slow.options["aggregate"] == "Momentum"
    half = fedflux.run(**(SLOW | {"engine": "reference", "rounds": 2}), **own)
    rest = fedflux.run(resume=half, rounds=4)
    assert rest.params_sha256 == slow.params_sha256


def test_ctrl_c_in_a_hook(julia: None) -> None:
    calls: list[int] = []

    def stops(updates: Any, weights: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return updates.mean(axis=0)

    with pytest.raises(fedflux.Interrupted) as caught:
        fedflux.run(**SMALL, aggregate=stops)
    assert len(caught.value.result.history) == 2

"""Aggregators, rules, partitions and the rest that are written in Python."""

import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def median(updates: Any, weights: Any) -> Any:
    n, rows = len(updates), np.sort(updates, axis=0)
    return rows[(n + 1) // 2 - 1] / 2 + rows[n // 2] / 2


def trimmed_mean(updates: Any, weights: Any) -> Any:
    n, rows = len(updates), np.sort(updates, axis=0)
    k = int(0.2 * n)
    return rows[k : n - k].astype(np.float64).sum(axis=0) / (n - 2 * k)


class Prox(fedflux.Rule):
    """FedProx: arXiv:1812.06127, Algorithm 2."""

    def correct(self, gradient: Any, params: Any, state: Any, ctx: Any) -> Any:
        return gradient + 0.1 * (params - ctx.params)


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


class Momentum(fedflux.Aggregator):
    min_clients = 3

    def aggregate(self, updates: Any, weights: Any) -> Any:
        mean = np.average(updates, axis=0, weights=weights)
        self.state["v"] = mean + 0.9 * self.state.get("v", 0)
        self.state["rounds"] = self.state.get("rounds", 0) + 1
        return self.state["v"]


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


SLOW: dict[str, Any] = SMALL | {"model": "softmax_regression"}
del SLOW["hidden"]


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


def test_what_the_reference_engine_refuses() -> None:
    with pytest.raises(fedflux.OptionError, match="rules: an object of your own needs eng"):
        fedflux.run(**(SLOW | {"engine": "reference"}), rules=Prox())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shape": (
        {"aggregate": lambda updates, weights: updates[:, 0]},
        "aggregate function, round 1: expected a vector of 1510 finite numbers, got an "
        "array of shape (7,)",
    ),
    "nothing": (
        {"aggregate": lambda updates, weights: None},
        "round 1: expected a vector of 1510 finite numbers, got None (NoneType); does it",
    ),
    "NaN": (
        {"aggregate": lambda updates, weights: np.where(np.arange(1510) == 3, np.nan, 1)},
        "got nan at 3 (1 of 1510 are not finite as float32)",
    ),
    "type": (
        {"aggregate": lambda updates, weights: ["a"] * 1510},
        "expected a vector of 1510 finite numbers, got ['a'",
    ),
    "arguments": (
        {"aggregate": lambda updates: updates[0]},
        "aggregate: expected a function of (updates, weights), got function(updates)",
    ),
    "class": (
        {"aggregate": Momentum},
        "aggregate: expected an object, got a class: use Mom",
    ),
    "name's class": ({"aggregate": fedflux.Median}, "got the class Median: use Median()"),
    "strange client": (
        {"sampling": lambda round, clients, rng: [9]},
        "sampling function, round 1: expected a list of some of the clients that it was "
        "given, got 9, which is none of these",
    ),
    "client twice": (
        {"availability": lambda round, clients, rng: [2, 2]},
        "availability function, round 1: expected a list of some of the clients that it "
        "was given, got 2 twice",
    ),
    "no list": (
        {"sampling": lambda round, clients, rng: "all"},
        "sampling function, round 1: expected a list of some of the clients that it was "
        "given, got 'all' (str)",
    ),
    "too few parts": (
        {"partition": lambda labels, clients, rng: [[0], [1]]},
        "partition function: expected 7 lists of indices, one for each client, got 2",
    ),
    "empty part": (
        {"partition": {"north": [0], "south": []}, "clients": 2},
        "partition: expected samples for every client, got none for client 'south'",
    ),
    "index": (
        {"partition": [[0], [1437]], "clients": 2},
        "partition: expected indices from 0 to 1436, got 1437 for client 2",
    ),
    "numbers as parts": (
        {"partition": [0.5, 1.0], "clients": 2},
        "partition: expected a list of indices for each client, and for client 1, got 0.5",
    ),
    "other clients": (
        {"partition": [[0], [1]], "clients": 3},
        "clients is 3, and partition lists the samples of 2: leave clients out",
    ),
    "a function for lr": ({"lr": lambda: 0.1}, "lr: expected a number, got <function"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_functions(julia: None, wrong: str) -> None:
    options, message = WRONG[wrong]
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**(SMALL | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def rule(**members: Any) -> fedflux.Rule:
    made: fedflux.Rule = type("Mine", (fedflux.Rule,), members)()
    return made


def sends_nothing(self: Any, update: Any, state: Any, ctx: Any) -> Any:
    return update


WRONG_RULES: dict[str, tuple[Any, str]] = {
    "misspelt": (
        rule(cleint=sends_nothing),
        "rule Mine: expected the hooks client, server, receive, correct, got a method "
        "'cleint'; did you mean 'client'?",
    ),
    "no hooks": (rule(), "rule Mine: expected one of the hooks client, server, receive"),
    "arguments": (
        rule(client=lambda self, update: update),
        "rule Mine, client: expected a function of (update, state, ctx), got ",
    ),
    "shape": (
        rule(client=lambda self, update, state, ctx: update[1:]),
        "rule Mine, client in round 1, client 1: expected a vector of 1510 finite numbers, "
        "got an array of shape (1509,)",
    ),
    "NaN": (
        rule(correct=lambda self, gradient, params, state, ctx: gradient * np.nan),
        "rule Mine, correct in round 1, client 1: expected a vector of 1510 finite numbers",
    ),
    "not sent": (
        rule(client=sends_nothing, sends=("drift",)),
        "client 1: expected drift in ctx.sent, as sends says, got nothing",
    ),
    "sends without client": (
        rule(server=sends_nothing, sends=("drift",)),
        "rule Mine: sends has names, and there is no hook client to send them",
    ),
    "sends as text": (
        rule(client=sends_nothing, sends="drift"),
        "rule Mine: expected different names as sends, such as ('drift',), got 'drift'",
    ),
    "state": (
        rule(server=lambda self, mean, state, ctx: (state.update(a="b"), mean)[1]),
        "rule Mine, server in round 1: expected an array of numbers as state 'a', got 'b'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_RULES)
def test_wrong_rules(julia: None, wrong: str) -> None:
    own, message = WRONG_RULES[wrong]
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**SMALL, threads=1, rules=[own])
    assert message in str(caught.value)


class OurError(Exception):
    pass


def raises(*arguments: Any) -> Any:
    raise OurError("what happened")


def writes(self: Any, update: Any, state: Any, ctx: Any) -> Any:
    update += 1


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"aggregate": lambda updates, weights: raises()}, "aggregate function, round 1"),
        ({"rules": rule(server=raises)}, "rule Mine, server in round 1"),
        ({"rules": rule(client=lambda self, update, state, ctx: raises())}, "client 1"),
        ({"partition": lambda labels, clients, rng: raises()}, "partition function"),
        ({"sampling": lambda round, clients, rng: raises()}, "sampling function, round 1"),
        ({"server": lambda params, mean, state, ctx: raises()}, "server function, round 1"),
    ],
)
def test_an_exception_keeps_its_type_and_its_stack(
    julia: None, options: dict[str, Any], where: str
) -> None:
    with pytest.raises(OurError, match="what happened") as caught:
        fedflux.run(**SMALL, threads=1, **options)
    assert where in caught.value.__notes__[0]
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (frames[-1].name, frames[-1].filename) == ("raises", __file__)
    assert fedflux.run(**SMALL).params_sha256  # the next run is as any


def test_arguments_cannot_be_written(julia: None) -> None:
    with pytest.raises(ValueError, match="read-only") as caught:
        fedflux.run(**SMALL, rules=rule(client=writes))
    assert "change a copy" in caught.value.__notes__[1]


def test_refusals(julia: None) -> None:
    private = {"weights": "uniform", "clients_per_round": 5, "sampling": "poisson"}
    with pytest.raises(fedflux.FedFluxError, match="ClientDP and aggregate median don't"):
        fedflux.run(**SMALL, **private, rules="client_dp", aggregate=median)
    with pytest.raises(fedflux.FedFluxError, match="Scaffold and aggregate median don't"):
        fedflux.run(**SMALL, rules="scaffold", aggregate=median)
    with pytest.raises(
        fedflux.OptionError, match="hook correct runs on the clients, and w"
    ):
        fedflux.run(**SMALL, rules=[Prox()], workers=2)


@pytest.mark.soak  # starting a process takes long; a test in Julia tells what travels
def test_server_side_functions_beside_worker_processes(julia: None) -> None:
    own = {"aggregate": median, "rules": [rule(server=sends_nothing)]}
    result = fedflux.run(**SMALL, **own, workers=1)
    assert result.params_sha256 == fedflux.run(**SMALL, aggregate="median").params_sha256


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

"""A deployment end to end: Flower's own processes on loopback, TLS, authentication, MNIST.

The tests share one federation, and stand in an order: the last ones end some of its
processes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux.he import _nodes
from fedflux.he._parameters import ROOMY

from ..conftest import ROOT
from ..federation import Federation, free_port, wait_until
from ..processes import alive, all_pids, children, command
from ..tracking.test_prometheus import scraped, values
from ..tracking.test_tracks import in_tensorboard, of_history, same

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")
pytestmark = pytest.mark.deployment

ROGUE = ROOT / "tests" / "flower" / "rogue"
CASE: dict[str, Any] = {
    "clients": 3,
    "rounds": 3,
    "model": "case_study_cnn",
    "batch_size": 10,
    "lr": 0.05,
    "seed": 3,
}
SMALL = CASE | {"model": "softmax_regression", "local_steps": 5}
RULES = "scaffold,topk(fraction=0.1)"


@pytest.fixture(scope="module")
def mnist(test_data: Path) -> str:
    return str(test_data / "mnist" / "mnist10k.npz")


@pytest.fixture(scope="module")
def federation(
    _julia_problem: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Federation]:
    if _julia_problem is not None:
        pytest.skip(_julia_problem)
    if os.name != "posix":
        pytest.skip("a deployment needs Linux or macOS")
    waiting = Federation(tmp_path_factory.mktemp("federation"), nodes=3)
    parameters = _nodes.parameters_of(ROOMY)
    if importlib.util.find_spec("tenseal") and parameters:
        key = waiting.folder / "nodes.key"
        _nodes.write_key(key, parameters)
        waiting.node_config = f'ckks-key="{key}"'
    with waiting as started:
        yield started


def test_bytes_at_the_link_are_those_of_the_history(
    federation: Federation, mnist: str
) -> None:
    """Node 1 is connected through a proxy that counts, and TLS, HTTP and all else count."""
    proxy = federation.proxy
    model = {"model": "mcmahan_cnn", "rounds": 2, "rules": RULES}
    before, began = proxy.counted(), time.monotonic()
    facts = federation.run(ROGUE, dataset=mnist, **SMALL | model).facts()
    up, down = (now - then for now, then in zip(proxy.counted(), before, strict=True))
    counted = {"bytes_down": down, "bytes_up": up}
    polling = 1_000 * (time.monotonic() - began)  # every few seconds, as long as it takes
    for name, measured in counted.items():
        said = sum(record[name] for record in facts["history"]) / 3
        print(
            f"{name}: {said:.0f} said, {measured} at the link: {measured / said - 1:+.2%}"
        )
        # the rest: TLS, HTTP, the app's code
        assert said < measured < 1.05 * said + 200_000 + polling
    federation.leave_proxy()


class Runs:
    """The runs that several tests look at, each started when it is first needed."""

    def __init__(self, federation: Federation, dataset: str) -> None:
        self.federation, self.dataset, self.done = federation, dataset, dict[str, Any]()

    def __getitem__(self, name: str) -> dict[str, Any]:
        own, options = RUNS[name]
        if name not in self.done:
            run = self.federation.run(ROGUE, own, dataset=self.dataset, **options)
            self.done[name] = run.facts()
        facts: dict[str, Any] = self.done[name]
        return facts


RUNS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "fedavg": ({}, CASE),
    "scaffold": ({}, CASE | {"rules": RULES}),
    "secure": ({}, SMALL | {"rounds": 1, "aggregate": "secure(threshold=0.6)"}),
    "hostile": ({"rogue": "hostile"}, SMALL | {"rounds": 7}),
    "numpy": ({"rogue": "numpy"}, SMALL | {"plain_samples": 2666}),
    "stock": ({"stock": "fedavg"}, SMALL),
}


@pytest.fixture(scope="module")
def runs(federation: Federation, mnist: str) -> Runs:
    return Runs(federation, mnist)


@pytest.mark.parametrize(("name", "rules"), [("fedavg", []), ("scaffold", RULES)])
def test_a_deployment_gives_the_parameters_of_a_simulation(
    julia: None, runs: Runs, mnist: str, name: str, rules: Any
) -> None:
    facts = runs[name]
    rules = ["scaffold", "topk(fraction=0.1)"] if rules else []
    simulated = fedflux.run(dataset=mnist, rules=rules, **CASE)
    assert facts["params_sha256"] == simulated.params_sha256
    for ours, theirs in zip(facts["history"], simulated.history, strict=True):
        for key in ("accuracy", "test_loss", "clients", "rejected", "dropped", "bytes_up"):
            assert ours[key] == theirs[key], key
    assert facts["accuracy"] > 0.9


def test_a_deployment_is_tracked_and_scraped_while_it_runs(
    federation: Federation, mnist: str, tmp_path: Path
) -> None:
    """By TensorBoard's writer, and from a real port of the server."""
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
    port, logs = free_port(), tmp_path / "logs"
    asked = {"track": f"tensorboard:{logs}", "metrics_port": port, "rounds": 6}
    run = federation.run(ROGUE, dataset=mnist, **SMALL | asked)
    seen: list[dict[str, float]] = []

    def over() -> bool:
        with contextlib.suppress(OSError):  # not yet, or no longer there
            seen.append(values(scraped(port)))
        return run.file.exists()

    wait_until(over, 1200, "the run", run.log)
    history = run.facts()["history"]

    def is_true(found: dict[str, float]) -> bool:
        """Whether a scrape has what the history says of its round, and of those before."""
        done = history[: int(found["fedflux_round"])]
        return (
            bool(done)
            and all(found[f"fedflux_{n}"] == done[-1][n] for n in ("accuracy", "bytes_up"))
            and found["fedflux_clients_accepted_total"] == 3 * len(done)
            and found["fedflux_received_bytes_total"] == sum(r["bytes_up"] for r in done)
        )

    assert any(map(is_true, seen)), seen
    with pytest.raises(OSError):
        scraped(port)  # the run is over
    (folder,) = logs.iterdir()
    points, _ = in_tensorboard(folder)
    same(points, of_history(history), 1e-6)


def test_secure_aggregation_gives_the_parameters_of_a_simulation(
    julia: None, runs: Runs, mnist: str
) -> None:
    _, options = RUNS["secure"]
    simulated = fedflux.run(dataset=mnist, **options)
    assert runs["secure"]["params_sha256"] == simulated.params_sha256


def test_encrypted_updates_give_the_parameters_of_a_simulation(
    julia: None, federation: Federation, mnist: str, tmp_path: Path
) -> None:
    """The nodes were started with the clients' key, and the server never has it."""
    pytest.importorskip("tenseal", reason="tenseal is not installed")
    saved, options = tmp_path / "result.safetensors", SMALL | {"rounds": 1}
    run = federation.run(
        ROGUE, {"fedflux.save": str(saved)}, dataset=mnist, **options, aggregate=ROOMY
    )
    (record,) = run.facts()["history"]
    assert record["clients"] == 3
    assert record["aggregation"]["decrypted_by"] in (1, 2, 3)
    encrypted = fedflux.Result.load(saved)
    plain = fedflux.run(dataset=mnist, **options)
    differ = [
        float(np.abs(ours - plain.parameters[name]).max())
        for name, ours in encrypted.parameters.items()
    ]
    assert 0 < max(differ) < 1e-6, differ  # 0 would be a run without encryption


def test_what_a_hostile_node_sends_is_rejected_with_its_reason(
    runs: Runs,
) -> None:
    history = runs["hostile"]["history"]
    reasons = [record["rejected"] for record in history]
    assert [[who["client"] for who in round] for round in reasons[:6]] == [[3]] * 6
    expected = ["NaN", "malformed", "round 1, not 3", "too large", "expected shape"]
    expected.append("can't be read")  # Flower makes nothing of it
    for round, part in zip(reasons, expected, strict=False):
        assert part in round[0]["reason"], round
    assert reasons[6] == []
    assert [record["clients"] for record in history] == [2, 2, 2, 2, 2, 2, 3]


def test_a_plain_flower_client_trains_against_our_server(runs: Runs) -> None:
    facts = runs["numpy"]
    assert [record["clients"] for record in facts["history"]] == [3, 3, 3]
    assert facts["history"][-1]["rejected"] == facts["history"][-1]["dropped"] == []
    assert facts["accuracy"] > 0.5


def test_a_plain_pytorch_client_trains_against_our_server(
    federation: Federation, mnist: str
) -> None:
    pytest.importorskip("torch")
    facts = federation.run(
        ROGUE, {"rogue": "torch"}, dataset=mnist, plain_samples=2666, **SMALL
    ).facts()
    assert [record["clients"] for record in facts["history"]] == [3, 3, 3]
    assert facts["accuracy"] > 0.5


def test_a_fedflux_client_serves_flowers_own_fedavg(runs: Runs) -> None:
    facts = runs["stock"]
    assert facts["accuracy"] > 0.3  # after two rounds of five steps; 0.1 by chance
    losses = [numbers["train_loss"] for _, numbers in sorted(facts["metrics"].items())]
    assert losses[-1] < losses[0]


def test_a_warm_client_costs_little(federation: Federation, runs: Runs) -> None:
    """From the second message on; the runs before have warmed the workers."""
    assert runs["fedavg"]
    assert runs["scaffold"]
    for number in (1, 2, 3):
        log = federation.log(f"node-{number}")
        around = [float(t) for t in re.findall(r"train: .* and ([\d.]+) s around", log)]
        assert len(around) >= 6
        assert sorted(around)[len(around) // 2] < 0.3, around


def test_an_unregistered_node_is_refused(federation: Federation) -> None:
    """It has a key and trusts the SuperLink, which doesn't know the key."""
    federation.start_node(4)
    process = federation.processes.pop("node-4")
    assert process.wait(timeout=120) != 0
    assert "Failed to activate SuperNode" in federation.log("node-4")


@pytest.fixture
def bare_node(federation: Federation, no_julia: dict[str, str]) -> Iterator[None]:
    """Node 3, started where there is no Julia and no network to get it."""
    federation.restart_node(3, federation.environment(no_julia))
    yield
    federation.restart_node(3)


def test_a_node_without_julia_joins_with_the_reference_engine_or_says_why_not(
    bare_node: None, julia: None, federation: Federation, mnist: str
) -> None:
    run = federation.run(ROGUE, dataset=mnist, **SMALL | {"rounds": 2})
    facts = run.facts()
    assert re.search(r"client 3: here, node \d+, engine reference", run.log())
    assert [record["clients"] for record in facts["history"]] == [3, 3]
    simulated = fedflux.run(dataset=mnist, **SMALL | {"rounds": 2})
    assert facts["accuracy"] == pytest.approx(simulated.accuracy, abs=0.002)

    run = federation.run(ROGUE, dataset=mnist, rules="scaffold", **SMALL)
    wait_until(lambda: "is refused" in run.log(), 300, "node 3 refuses", run.log)
    federation.flwr("stop", run.number, "local")  # the server would wait for it
    said = [line for line in run.log().splitlines() if "is refused" in line]
    assert len(said) == 1, said
    assert re.search(r"this node can't join: rules.* needs the Julia core.*; .+", said[0])


def test_a_node_killed_mid_round_does_not_end_the_run(
    federation: Federation, mnist: str
) -> None:
    slow = CASE | {"model": "softmax_regression", "rounds": 2, "local_epochs": 200}
    before = federation.log("node-3").count("Receiving: train message")
    run = federation.run(ROGUE, dataset=mnist, **slow)
    wait_until(
        lambda: federation.log("node-3").count("Receiving: train message") > before,
        600,
        "node 3 trains",
        federation.log,
    )
    workers = worker_pids(federation.processes["node-3"].pid)
    federation.kill("node-3")
    history = run.facts()["history"]
    assert [who["client"] for who in history[0]["dropped"]] == [3]
    assert history[0]["clients"] == 2
    assert len(history) == 2
    wait_until(lambda: not any(map(alive, workers)), 10, "its workers end with it")
    federation.start_node(3)


def worker_pids(node: int) -> list[int]:
    """The workers that watch a node, found by the shell that watches for them."""
    exec_pids = children(node)
    return [
        int(words[4])
        for words in map(command, all_pids())
        if len(words) == 5 and words[0] == "/bin/sh" and words[3] in map(str, exec_pids)
    ]


def test_a_killed_server_resumes_to_the_same_parameters(
    julia: None, federation: Federation, mnist: str, tmp_path: Path
) -> None:
    federation.leave_proxy()
    folder, options = str(tmp_path / "checkpoints"), SMALL | {"rounds": 4, "rules": RULES}
    federation.run(ROGUE, dataset=mnist, checkpoint=folder, **options)
    wait_until(
        lambda: (tmp_path / "checkpoints" / "round-000002.json").exists(),
        600,
        "two rounds",
        federation.log,
    )
    federation.kill("link")
    time.sleep(1)
    federation.start_link()
    facts = federation.run(ROGUE, dataset=mnist, resume=folder, **options).facts()
    assert 2 <= facts["details"]["resumed"] < 4
    rules = RULES.split(",", 1)
    simulated = fedflux.run(dataset=mnist, **options | {"rules": rules})
    assert facts["params_sha256"] == simulated.params_sha256
